//! This crate with real etcd members on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod certs;
mod cluster;
mod member;
mod numbers;
#[allow(dead_code)] // other crates use the rest of it
mod support;
mod torn;
mod v2;
mod variants;
