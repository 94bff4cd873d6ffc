//! Whether systemd starts the daemon at the next boot.

use std::fs;
use std::path::{Path, PathBuf};

const UNIT: &str = "nightshift.service";
/// Where units and the links of `systemctl enable` are.
const UNIT_DIRS: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// Whether the unit is installed on a machine that systemd runs, and no target starts it.
pub fn is_disabled(root: &Path) -> bool {
    let dirs = UNIT_DIRS.map(|dir| root.join(dir));
    let is_installed = dirs.iter().any(|dir| dir.join(UNIT).exists());
    root.join("run/systemd/system").is_dir() && is_installed && !dirs.iter().flat_map(targets).any(starts)
}

/// What a target wants or requires: `multi-user.target.wants`.
fn targets(dir: &PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let links = |path: &PathBuf| path.extension().is_some_and(|end| end == "wants" || end == "requires");
    entries.filter(links).collect()
}

fn starts(target: PathBuf) -> bool {
    // The link counts also if it leads outside of `root`.
    target.join(UNIT).symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_installed_unit_that_no_target_starts_is_disabled() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let make = |path: &str| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        };
        fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        assert!(!is_disabled(root), "it is not installed");
        make("usr/lib/systemd/system/nightshift.service");
        make("etc/systemd/system/multi-user.target.wants/ssh.service");
        assert!(is_disabled(root));
        make("etc/systemd/system/multi-user.target.wants/nightshift.service");
        assert!(!is_disabled(root));
        fs::remove_dir_all(root.join("run")).unwrap();
        fs::remove_dir_all(root.join("etc")).unwrap();
        assert!(!is_disabled(root), "systemd does not run");
    }
}
