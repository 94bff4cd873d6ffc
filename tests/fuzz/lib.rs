//! Fuzz targets: what must be true of any bytes that another host, a client or a damaged disk gives to a reader. Each is a
//! function that panics where it is not true.
//!
//! `corpus.rs` runs them over their corpus and mutations of it, `libfuzzer/` has a program for each: `cargo xtask fuzz`.

#[cfg(feature = "all")]
mod archive;
#[cfg(feature = "all")]
mod control;
#[cfg(feature = "all")]
mod hint;
#[cfg(feature = "all")]
mod known_hosts;
#[cfg(feature = "all")]
mod manifest;
#[cfg(feature = "all")]
mod proof;
#[cfg(feature = "all")]
mod record;
mod snapshot;

#[cfg(feature = "all")]
pub use self::{
    archive::archive, control::control, hint::hint, known_hosts::known_hosts, manifest::manifest,
    proof::proof, record::record,
};
pub use snapshot::{snapshot, snapshot_change};
