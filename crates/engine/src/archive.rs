//! Archives: one file with all sets of a night.
