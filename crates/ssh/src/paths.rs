//! Paths that a peer sends are hostile until they have passed here.

use std::path::PathBuf;

use thiserror::Error;

pub const MAX_PATH_BYTES: usize = 4096;
pub const MAX_COMPONENT_BYTES: usize = 255;
pub const MAX_DEPTH: usize = 64;

/// Why a path from a peer is refused. The path is shown escaped, because it may hold control characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the path {path:?} from a peer is refused: {reason}")]
pub struct HostilePath {
    pub path: String,
    pub reason: &'static str,
}

/// Accepts a relative path that stays below the folder it is joined to, and returns it as a path.
pub fn check_relative(path: &str) -> Result<PathBuf, HostilePath> {
    match first_fault(path) {
        None => Ok(PathBuf::from(path)),
        Some(reason) => Err(HostilePath { path: path.chars().take(200).collect(), reason }),
    }
}

/// Accepts one name of a folder's entry.
pub fn check_name(name: &str) -> Result<(), HostilePath> {
    let reason = if name.contains('/') { Some("a name must not contain a slash") } else { first_fault(name) };
    match reason {
        None => Ok(()),
        Some(reason) => Err(HostilePath { path: name.chars().take(200).collect(), reason }),
    }
}

fn first_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Some("it is longer than 4096 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.chars().any(char::is_control) {
        return Some("it contains a control character");
    }
    // No file that a cluster backs up has one in its name, and on the way to a person's machine it is a separator.
    if path.contains('\\') {
        return Some("it contains a backslash");
    }
    if path.split('/').count() > MAX_DEPTH {
        return Some("it is more than 64 folders deep");
    }
    path.split('/').find_map(|component| match component {
        "" => Some("it has an empty component"),
        "." | ".." => Some("it has a `.` or `..` component"),
        long if long.len() > MAX_COMPONENT_BYTES => Some("one of its names is longer than 255 bytes"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in ["manifest.json", "etc/origin/node/node-config.yaml", "..data", "a/...", "ä/ü"] {
            assert_eq!(check_relative(path), Ok(PathBuf::from(path)));
        }
        assert!(check_relative(&vec!["d"; 64].join("/")).is_ok());
        assert!(check_relative(&"n".repeat(255)).is_ok());
    }

    #[test]
    fn hostile_paths_are_refused_with_a_reason() {
        for (path, reason) in [
            ("", "empty"),
            ("/etc/shadow", "absolute"),
            ("..", "`..`"),
            ("a/../../b", "`..`"),
            ("./a", "`.`"),
            ("a//b", "empty component"),
            ("a/", "empty component"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            ("..\\..\\b", "backslash"),
            ("C:\\x", "backslash"),
        ] {
            let refusal = check_relative(path).unwrap_err();
            assert!(refusal.to_string().contains(reason), "{path:?}: {refusal}");
        }
        assert!(check_relative(&vec!["d"; 65].join("/")).is_err());
        assert!(check_relative(&"n".repeat(256)).is_err());
        assert!(check_relative(&"abc/".repeat(1200)).is_err());
    }

    #[test]
    fn a_name_is_one_component() {
        assert!(check_name("root_cron").is_ok());
        for name in ["a/b", ".", "..", "", "/"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_never_leaves_the_folder(path in "[a./\\\\]{0,12}") {
            if let Ok(safe) = check_relative(&path) {
                prop_assert!(safe.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
