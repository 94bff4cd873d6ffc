//! What neither the compiler, nor clippy, nor cargo-deny can see: the house's own rules.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file of code, its tests not counted.
const LONGEST_FILE: usize = 400;
const LONGEST_MAIN: usize = 12;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Every Rust file of the product, relative to the workspace, with its text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    assert!(found.len() > 100, "the walk went wrong: {} files", found.len());
    found.sort();
    found
}

/// Files of the product itself: no tests, no examples.
fn product() -> impl Iterator<Item = (String, String)> {
    sources()
        .into_iter()
        .filter(|(name, _)| name.contains("/src/") && !name.contains("/tests") && !name.ends_with("tests.rs"))
}

/// The lines before the tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"))
}

fn offenders(offends: impl Fn(&str, &str) -> bool) -> Vec<String> {
    product()
        .flat_map(|(name, text)| {
            let lines: Vec<_> = code(&text)
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//") && offends(&name, line))
                .map(|(at, line)| format!("{name}:{}: {}", at + 1, line.trim()))
                .collect();
            lines
        })
        .collect()
}

#[test]
fn no_file_of_code_is_longer_than_its_one_idea() {
    let long: Vec<_> = product()
        .map(|(name, text)| (code(&text).count(), name))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn main_is_a_door() {
    let main = fs::read_to_string(root().join("crates/nightshift/src/main.rs")).expect("main.rs");
    assert!(main.lines().count() <= LONGEST_MAIN, "{main}");
}

#[test]
fn every_file_belongs_to_its_crate() {
    let sources = sources();
    let orphans: Vec<_> = product()
        .map(|(name, _)| name)
        .filter(|name| {
            let path = Path::new(name);
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if matches!(stem, "lib" | "main") {
                return false;
            }
            let (folder, module) = match stem {
                "mod" => (
                    path.parent().and_then(Path::parent),
                    path.parent()
                        .and_then(Path::file_name)
                        .and_then(|name| name.to_str())
                        .unwrap_or_default(),
                ),
                stem => (path.parent(), stem),
            };
            let Some(folder) = folder else { return true };
            let mut parents = ["lib.rs", "main.rs", "mod.rs"].map(|file| folder.join(file)).to_vec();
            parents.push(folder.with_extension("rs"));
            !sources.iter().any(|(name, text)| {
                parents.iter().any(|parent| parent == Path::new(name))
                    && text.lines().any(|line| line.trim_end().ends_with(&format!("mod {module};")))
            })
        })
        .collect();
    assert!(orphans.is_empty(), "no module names these: {orphans:#?}");
}

#[test]
fn only_the_supervisor_spawns() {
    let spawners = offenders(|name, line| {
        let allowed = name.ends_with("engine/src/supervisor.rs") || name.ends_with("engine/src/offload.rs");
        !allowed
            && !name.starts_with("crates/xtask")
            && ["tokio::spawn(", "task::spawn(", "spawn_blocking(", "thread::spawn("]
                .iter()
                .any(|spawn| line.contains(spawn))
    });
    assert!(spawners.is_empty(), "{spawners:#?}");
}

#[test]
fn only_the_exit_module_names_exit_codes_and_only_the_report_prints_chains() {
    let exits = offenders(|name, line| {
        name.starts_with("crates/nightshift/")
            && !name.ends_with("/exit.rs")
            && (line.contains("process::exit") || line.contains("ExitCode::from"))
    });
    assert!(exits.is_empty(), "{exits:#?}");
}

#[test]
fn core_reads_no_clock_and_touches_no_world() {
    let worldly = offenders(|name, line| {
        let pure = name.starts_with("crates/core/") || name.starts_with("crates/config/");
        pure && [
            "std::fs",
            "net::Tcp",
            "net::Udp",
            "std::env",
            "SystemTime",
            "Instant::now",
            "Timestamp::now",
            "Zoned::now",
        ]
        .iter()
        .any(|word| line.contains(word))
    });
    assert!(worldly.is_empty(), "{worldly:#?}");
}

#[test]
fn the_engine_has_never_heard_of_toml_nor_the_rest_of_russh() {
    let strangers = offenders(|name, line| {
        (name.starts_with("crates/engine/") && line.contains("toml::"))
            || (!name.starts_with("crates/ssh/") && line.contains("russh"))
    });
    // The one word for the log filter is no use of the crate.
    let strangers: Vec<_> = strangers.into_iter().filter(|line| !line.contains("russh=error")).collect();
    assert!(strangers.is_empty(), "{strangers:#?}");
}

#[test]
fn the_ids_of_audit_events_are_those_that_were_published() {
    let published =
        fs::read_to_string(root().join("tests/data/message-ids.txt")).expect("tests/data/message-ids.txt");
    let catalog = nightshift_core::audit::catalog();
    for id in published.lines() {
        assert!(
            catalog.contains(&format!("-- {id}\n")),
            "{id} is gone: an id changes only with a changelog line"
        );
    }
    assert_eq!(catalog.matches("\nSubject: ").count(), published.lines().count(), "add the new ids");
}

#[test]
fn every_invariant_of_the_map_is_numbered_and_the_map_names_every_crate() {
    let map = fs::read_to_string(root().join("crates/README.md")).expect("crates/README.md");
    for number in 1..=13 {
        assert!(map.contains(&format!("\n{number}. ")), "invariant {number}");
    }
    for entry in fs::read_dir(root().join("crates")).expect("crates/") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().expect("UTF-8");
            assert!(map.contains(&format!("| `{name}` |")), "the map has no row for `{name}`");
        }
    }
}

#[test]
fn nothing_is_left_to_do_and_no_path_of_a_machine_is_kept() {
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "/home".to_owned() + "/user",
        "/wo".to_owned() + "rk/",
    ];
    let left: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| marks.iter().any(|mark| text.contains(mark)))
        .map(|(name, _)| name)
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}
