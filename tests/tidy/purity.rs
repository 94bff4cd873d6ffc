//! The core and the config depend on their arguments alone.

use crate::rule::{Source, enforce};

const WORLD: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "tokio::",
    "rustix::",
];

fn touches_the_world(file: &Source) -> Vec<String> {
    if !file.in_crate("core") && !file.in_crate("config") {
        return Vec::new();
    }
    file.code(|line| WORLD.iter().any(|word| line.contains(word)))
}

#[test]
fn core_and_config_read_no_clock_and_do_no_io() {
    enforce(
        touches_the_world,
        &[
            ("crates/core/src/a.rs", "use std::fs;"),
            ("crates/config/src/a.rs", "fn f() { Timestamp::now(); }"),
            ("crates/core/src/a.rs", "#[cfg(test)]\nmod tests;\nfn f() { std::env::var(x); }"),
        ],
        &[
            (
                "crates/core/src/a.rs",
                "/// Not by `std::fs`.\nfn f(now: Timestamp) {}\n#[cfg(test)]\nuse std::fs;",
            ),
            ("crates/engine/src/a.rs", "use std::fs;"),
        ],
    );
}
