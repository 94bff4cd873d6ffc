//! What the tests stand on: real things to test against, and ways to make them fail.

use std::env;

pub mod daemon;
pub mod demo;
pub mod etcd;
pub mod journal;
pub mod lab;
pub mod port;
pub mod proxy;
pub mod site;
pub mod site_config;
mod site_plan;
pub mod sshd;

/// Whether a test can run here. If not, it says why and passes; with `NIGHTSHIFT_LAB=required` it fails instead.
///
/// # Panics
/// If the test has to run and cannot.
pub fn require(available: Result<(), String>) -> bool {
    let Err(why) = available else {
        return true;
    };
    let required = env::var_os("NIGHTSHIFT_LAB").is_some_and(|value| value == "required");
    assert!(!required, "this test has to run here, and cannot: {why}");
    println!("skipped: {why}");
    false
}
