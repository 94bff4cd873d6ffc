//! What was forgotten: work left to do, and paths of the machine it was written on.

use std::fs;
use std::path::Path;

/// Directories and files of the workspace that are written by hand.
const TEXTS: &[&str] = &[
    "crates",
    "tests",
    "config",
    "docs",
    "systemd",
    "packaging",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

/// Every text below the named places, with its name below the root of the workspace.
pub fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<_> =
        TEXTS.iter().map(|name| source::root().join(name)).filter(|path| path.exists()).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((name(&path), text));
        }
    }
    assert!(found.len() > 300, "the walk went wrong: {} texts", found.len());
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(source::root()).unwrap_or(path).display().to_string()
}

/// The marks are put together here, for this file is read as well.
fn left_over(text: &str) -> bool {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["/home", "/user"], ["/wo", "rk/"]]
        .map(|parts| parts.concat());
    marks.iter().any(|mark| text.contains(mark))
}

#[test]
fn nothing_is_left_to_do_and_no_path_of_a_machine_is_kept() {
    assert!(left_over(&["// TO", "DO: later"].concat()));
    assert!(left_over(&["/wo", "rk/main"].concat()));
    assert!(!left_over("// See docs/todo-list.md"));
    let left: Vec<_> =
        texts().into_iter().filter(|(_, text)| left_over(text)).map(|(name, _)| name).collect();
    assert!(left.is_empty(), "{left:#?}");
}
