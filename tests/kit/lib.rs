//! What the tests stand on: real things to test against, and ways to make them fail.

use std::env;
use std::time::Duration;

pub mod by_hand;
pub mod daemon;
pub mod demo;
pub mod etcd;
pub mod journal;
pub mod lab;
pub mod pki;
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

/// Polls a condition for at most 30 s.
///
/// # Panics
/// If it is not met by then.
pub fn eventually(what: &str, mut is_met: impl FnMut() -> bool) {
    let look = || if is_met() { Ok(()) } else { Err("it is not so".to_owned()) };
    if let Err(error) = lab::cmd::poll(what, Duration::from_secs(30), look) {
        panic!("{error}");
    }
}
