#![allow(clippy::unwrap_used)]
//! Archives as other tools see them, and as they come back damaged or made by somebody else.

mod hostile;
pub(crate) mod kit;
mod packing;
mod reading;
