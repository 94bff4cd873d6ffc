//! A port on loopback for a server that is told its port.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel hands out by itself, so that no outgoing connection takes one first.
const FIRST: u16 = 20_000;
const PORTS: u16 = 10_000;
/// Test processes with neighbouring ids begin this far from each other.
const APART: u32 = 61;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on now. Its server may still lose it to another one, and then asks again.
///
/// # Panics
/// If every port of the range is taken.
pub fn free() -> u16 {
    let begin = u16::try_from(process::id().wrapping_mul(APART) % u32::from(PORTS)).unwrap_or_default();
    for _ in 0..PORTS {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (begin.wrapping_add(next)) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}
