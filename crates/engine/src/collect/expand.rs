//! From a rule to the paths it names: a file, a whole folder, or a glob that never crosses a link.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::manifest::MAX_ITEMS;
use nightshift_store::safe_open::{Missing, open_folder, open_parent};
use rustix::fs::{AtFlags, Dir, FileType, statat};

use super::glob::{is_glob, matches, parts};

/// How deep a whole folder is followed.
const DEEPEST: usize = 60;

#[derive(Debug, Default)]
pub struct Expanded {
    /// Absolute paths of files, folders and links, each folder before what it holds.
    pub found: Vec<String>,
    /// Why there is nothing, or not everything.
    pub missing: Option<Missing>,
    pub notes: Vec<String>,
}

pub fn expand(rule: &str) -> Expanded {
    let mut expanded = Expanded::default();
    walk(&mut expanded, PathBuf::from("/"), &parts(rule));
    expanded
}

fn walk(expanded: &mut Expanded, base: PathBuf, parts: &[&str]) {
    let Some(at) = parts.iter().position(|part| is_glob(part)) else {
        take(expanded, &parts.iter().fold(base, |path, part| path.join(part)), 0);
        return;
    };
    let folder = parts[..at].iter().fold(base, |path, part| path.join(part));
    let names = match list(&folder) {
        Ok(names) => names,
        Err(missing) => {
            expanded.missing = Some(missing);
            return;
        }
    };
    for name in names {
        if matches(parts[at], &name.to_string_lossy()) {
            walk(expanded, folder.join(&name), &parts[at + 1..]);
        }
    }
}

/// Takes one path: a folder with everything below it.
fn take(expanded: &mut Expanded, path: &Path, depth: usize) {
    let Some(text) = path.to_str() else {
        expanded.notes.push(format!("{}: its name is not UTF-8, so it was left out", path.display()));
        return;
    };
    let kind = match kind_of(path) {
        Ok(kind) => kind,
        Err(missing) => {
            expanded.missing = Some(missing);
            return;
        }
    };
    match kind {
        FileType::RegularFile | FileType::Symlink => expanded.found.push(text.to_owned()),
        FileType::Directory if depth >= DEEPEST => {
            expanded.notes.push(format!("{text}: deeper than {DEEPEST} folders, left out"));
        }
        FileType::Directory => {
            expanded.found.push(text.to_owned());
            match list(path) {
                Ok(names) => {
                    for name in names {
                        if expanded.found.len() > MAX_ITEMS {
                            return;
                        }
                        take(expanded, &path.join(name), depth + 1);
                    }
                }
                Err(missing) => expanded.notes.push(format!("{text}: {missing}")),
            }
        }
        _ => expanded.notes.push(format!("{text}: {}", Missing::Special)),
    }
}

fn kind_of(path: &Path) -> Result<FileType, Missing> {
    let parent = open_parent(path)?;
    let name = path.file_name().unwrap_or(OsStr::new("."));
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode)),
        Err(errno) => Err(Missing::of(errno, path)),
    }
}

/// The names in a folder, sorted, so that a set lists its items in the same order each night.
fn list(folder: &Path) -> Result<Vec<OsString>, Missing> {
    let opened = open_folder(folder)?;
    let mut names = Vec::new();
    let entries = Dir::read_from(&opened).map_err(|errno| Missing::Other(errno.into()))?;
    for entry in entries {
        let entry = entry.map_err(|errno| Missing::Other(errno.into()))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
        if names.len() > MAX_ITEMS {
            break;
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        // The folder of temporary files may itself lie behind a link.
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(root.join("origin/node")).unwrap();
        for file in ["origin/a.yaml", "origin/node/b.yaml", "origin/.hidden", "atomic-x", "atomic-y"] {
            fs::write(root.join(file), file).unwrap();
        }
        symlink("/etc", root.join("origin/out")).unwrap();
        (dir, root.to_str().unwrap().to_owned())
    }

    fn found(rule: &str, root: &str) -> Vec<String> {
        expand(rule).found.iter().map(|path| path.strip_prefix(root).unwrap_or(path).to_owned()).collect()
    }

    #[test]
    fn a_directory_is_expanded_to_all_below_it_with_symlinks_as_symlinks() {
        let (_dir, root) = tree();
        assert_eq!(
            found(&format!("{root}/origin/"), &root),
            [
                "/origin",
                "/origin/.hidden",
                "/origin/a.yaml",
                "/origin/node",
                "/origin/node/b.yaml",
                "/origin/out"
            ]
        );
    }

    #[test]
    fn a_glob_matches_names_and_does_not_follow_symlinks() {
        let (_dir, root) = tree();
        assert_eq!(found(&format!("{root}/atomic-*"), &root), ["/atomic-x", "/atomic-y"]);
        assert_eq!(found(&format!("{root}/origin/*/b.yaml"), &root), ["/origin/node/b.yaml"]);
        assert!(found(&format!("{root}/origin/*/passwd"), &root).is_empty());
    }

    #[test]
    fn a_path_through_a_symlink_is_refused_and_the_symlink_named() {
        let (_dir, root) = tree();
        let expanded = expand(&format!("{root}/origin/out/passwd"));
        assert!(expanded.found.is_empty());
        assert!(matches!(expanded.missing, Some(Missing::ThroughLink(link)) if link == "out"));
    }

    #[test]
    fn an_absent_file_is_reported_as_absent() {
        let (_dir, root) = tree();
        assert!(matches!(expand(&format!("{root}/nothing")).missing, Some(Missing::Absent)));
        assert!(matches!(expand(&format!("{root}/atomic-x/below")).missing, Some(Missing::Absent)));
    }
}
