//! The project's own rules: what neither the compiler, nor clippy, nor cargo-deny can see.

mod dialect;
mod docs;
mod doctests;
mod doors;
mod files;
mod formats;
mod leftovers;
mod map;
mod purity;
mod rule;
mod threads;
mod units;
