//! Where tasks and threads are started. A task of its own outlives the stage that started it, and nothing stops it.

use crate::rule::{Source, enforce_but_in};

const PLACES: &[(&str, &str)] = &[
    ("crates/engine/src/supervisor.rs", "the one place where tasks are started"),
    ("crates/store/src/offload.rs", "work that blocks; it is awaited"),
    ("crates/store/src/gzip.rs", "compresses on all cores; the threads end with the scope"),
    ("crates/archive/src/pack.rs", "verifies the archive while it is written; ends with the scope"),
    ("crates/snapshot/src/walk.rs", "hashes the file while its pages are read; ends with the scope"),
    (
        "crates/nightshift/src/commands/inspect/opened.rs",
        "hashes the file while it is shown; ends with the scope",
    ),
];

/// `spawn()` without arguments starts a program, not a thread.
fn starts_a_thread(file: &Source) -> Vec<String> {
    let starts = |line: &str| {
        ["thread::scope(", "thread::Builder", "spawn_blocking(", "spawn_local("]
            .iter()
            .any(|start| line.contains(start))
            || line.match_indices("spawn(").any(|(at, _)| {
                let called = line[..at].ends_with(['.', ':']);
                called && !line[at..].starts_with("spawn()")
            })
    };
    if file.in_crate("xtask") { Vec::new() } else { file.code(starts) }
}

#[test]
fn threads_and_tasks_are_started_in_the_named_places_alone() {
    enforce_but_in(
        PLACES,
        starts_a_thread,
        &[
            ("crates/engine/src/a.rs", "fn f() { tokio::spawn(async {}); }"),
            ("crates/engine/src/a.rs", "fn f() { tokio::task::spawn_blocking(|| ()); }"),
            ("crates/engine/src/a.rs", "fn f() { std::thread::spawn(|| ()); }"),
            ("crates/engine/src/a.rs", "fn f(s: S) { s.spawn(move || ()); }"),
            ("crates/engine/src/a.rs", "fn f() { thread::scope(|s| ()); }"),
            ("crates/engine/src/a.rs", "fn f() { std::thread::Builder::new(); }"),
            ("crates/engine/src/a.rs", "#[cfg(test)]\nmod tests {}\nfn f() { tokio::spawn(async {}); }"),
        ],
        &[
            ("crates/engine/src/a.rs", "fn f(c: Command) { c.spawn(); spawn(1); } // tokio::spawn(x)"),
            ("crates/engine/src/a.rs", "#[cfg(test)]\nfn f() { std::thread::spawn(|| ()); }"),
            ("crates/xtask/src/a.rs", "fn f() { std::thread::spawn(|| ()); }"),
        ],
    );
}
