//! The restore of a cluster.

pub mod act;
pub mod id;
pub mod units;
