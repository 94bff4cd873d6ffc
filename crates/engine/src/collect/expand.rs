//! From a rule to the paths that it names: a file, a whole directory, or a glob, which never crosses a symlink.
//!
//! The rules are the same for this host's files and for those of an agentless host. The caller reads the directories.

use std::ffi::OsStr;
use std::path::Path;

use nightshift_core::manifest::{MAX_ITEMS, is_safe_path};
use nightshift_ssh::FileKind;
use nightshift_store::safe_open::{Missing, open_directory, open_parent};
use rustix::fs::{AtFlags, Dir, FileType, statat};

use super::glob::{is_glob, matches, parts};

/// Where kubeadm stores etcd's whole data directory before each upgrade, for good: hundreds of megabytes of old keys. Only a rule that
/// names it collects it.
const UPGRADE_COPIES: &str = "/etc/kubernetes/tmp";

/// A rule that is being expanded. `S` is what the caller knows of each path.
#[derive(Debug)]
pub struct Expansion<'r, S> {
    open: Vec<Place<'r>>,
    /// Absolute paths of files, directories and symlinks, each directory before its entries.
    pub found: Vec<(String, S)>,
    /// Why nothing was found, or not everything.
    pub missing: Option<Missing>,
    pub notes: Vec<String>,
    /// What exists and cannot be part of the set.
    pub left_out: Vec<String>,
}

/// A path to read next, and the components of the rule below it.
#[derive(Debug)]
pub struct Place<'r> {
    pub path: String,
    rest: Vec<&'r str>,
}

impl Place<'_> {
    /// Whether it is the directory in which a glob is matched. Its kind does not matter.
    pub fn has_glob(&self) -> bool {
        !self.rest.is_empty()
    }
}

impl<'r, S> Expansion<'r, S> {
    pub fn new(rule: &'r str) -> Self {
        let open = vec![Place { path: String::new(), rest: parts(rule) }];
        Self { open, found: Vec::new(), missing: None, notes: Vec::new(), left_out: Vec::new() }
    }

    /// What the caller has to read next, until it is `None`.
    pub fn next_place(&mut self) -> Option<Place<'r>> {
        while self.found.len() <= MAX_ITEMS {
            let Place { mut path, mut rest } = self.open.pop()?;
            let fixed = rest.iter().position(|part| is_glob(part)).unwrap_or(rest.len());
            for part in rest.drain(..fixed) {
                path = format!("{path}/{part}");
            }
            // One such path would make the manifest of the whole set invalid.
            if path.is_empty() || is_safe_path(&path[1..]) {
                return Some(Place { path, rest });
            }
            self.left_out.push(format!("{path}: left out, because the path is too long or too deep"));
        }
        None
    }

    /// Adds a path of this kind. Returns whether it is a directory, whose entries are needed next.
    pub fn add(&mut self, path: &str, kind: Result<(FileKind, S), Missing>) -> bool {
        match kind {
            Ok((FileKind::Other, _)) => self.notes.push(format!("{path}: {}", Missing::Special)),
            Ok((kind, known)) => {
                self.found.push((path.to_owned(), known));
                return kind == FileKind::Directory;
            }
            Err(missing) => self.miss(missing),
        }
        false
    }

    /// What exists and cannot be read counts more than what is absent elsewhere.
    fn miss(&mut self, missing: Missing) {
        if !self.missing.as_ref().is_some_and(Missing::is_trouble) {
            self.missing = Some(missing);
        }
    }

    /// Continues with the entries of a directory.
    pub fn enter(&mut self, place: &Place<'r>, names: Result<Vec<String>, Missing>) {
        let mut names = match names {
            Ok(names) => names,
            Err(missing) if place.has_glob() => return self.miss(missing),
            Err(missing) if missing.is_trouble() => {
                return self.left_out.push(format!("{}: left out: {missing}", place.path));
            }
            // It was removed since it was listed.
            Err(_) => return,
        };
        if let Some(pattern) = place.rest.first() {
            names.retain(|name| matches(pattern, name));
        }
        names.retain(|name| {
            let path = format!("{}/{name}", place.path);
            let is_kept = path != UPGRADE_COPIES;
            if !is_kept {
                self.notes.push(format!("{path}: left out: it has kubeadm's copies of before its upgrades"));
            }
            is_kept
        });
        // Sorted, so that a set lists its items in the same order each night. The last one is popped first.
        names.sort_by(|one, other| other.cmp(one));
        let rest = place.rest.get(1..).unwrap_or_default();
        let below = |name| Place { path: format!("{}/{name}", place.path), rest: rest.to_vec() };
        self.open.extend(names.into_iter().map(below));
    }
}

/// Expands a rule to paths of this host.
pub fn expand(rule: &str) -> Expansion<'_, ()> {
    let mut expansion = Expansion::new(rule);
    while let Some(place) = expansion.next_place() {
        let path = Path::new("/").join(&place.path);
        if place.has_glob() || expansion.add(&place.path, kind_of(&path).map(|kind| (kind, ()))) {
            let names = list(&path, &mut expansion.left_out);
            expansion.enter(&place, names);
        }
    }
    expansion
}

fn kind_of(path: &Path) -> Result<FileKind, Missing> {
    let parent = open_parent(path).map_err(|missing| absent_behind_link(missing, path))?;
    let name = path.file_name().unwrap_or(OsStr::new("."));
    let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| Missing::of(errno, path))?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    })
}

/// A path through a link that leads to nothing is absent, as where `/usr/local` is a link.
fn absent_behind_link(missing: Missing, path: &Path) -> Missing {
    let leads_to_nothing =
        || path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    match missing {
        Missing::ThroughLink(_) if leads_to_nothing() => Missing::Absent,
        missing => missing,
    }
}

/// The names in a directory. A manifest cannot contain those that are not UTF-8.
fn list(directory: &Path, left_out: &mut Vec<String>) -> Result<Vec<String>, Missing> {
    let opened = open_directory(directory)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&opened).map_err(|errno| Missing::Other(errno.into()))? {
        let entry = entry.map_err(|errno| Missing::Other(errno.into()))?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => names.push(name.to_owned()),
            Err(_) => {
                let name = entry.file_name().to_string_lossy();
                left_out
                    .push(format!("{}/{name}: left out, because its name is not UTF-8", directory.display()));
            }
        }
        if names.len() > MAX_ITEMS {
            let directory = directory.display();
            left_out.push(format!("{directory}: left out what follows its first {MAX_ITEMS} entries"));
            break;
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        // The directory of temporary files may itself be behind a symlink.
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(root.join("origin/node")).unwrap();
        for file in ["origin/a.yaml", "origin/node/b.yaml", "origin/.hidden", "atomic-x", "atomic-y"] {
            fs::write(root.join(file), file).unwrap();
        }
        symlink("/etc", root.join("origin/out")).unwrap();
        (dir, root.to_str().unwrap().to_owned())
    }

    fn found(rule: &str, root: &str) -> Vec<String> {
        let found = expand(rule).found.into_iter();
        found.map(|(path, ())| path.strip_prefix(root).unwrap_or(&path).to_owned()).collect()
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
    fn a_path_through_a_link_is_absent_where_the_link_leads_to_nothing_and_a_link_where_it_does_not() {
        let (_dir, root) = tree();
        symlink(format!("{root}/origin"), format!("{root}/link")).unwrap();
        let missing = |rule: &str| expand(&format!("{root}/{rule}")).missing;
        assert!(matches!(missing("link/certificates/"), Some(Missing::Absent)));
        assert!(
            matches!(missing("link/a.yaml"), Some(Missing::ThroughLink(_))),
            "it exists, and is not followed"
        );
    }

    #[test]
    fn kubeadms_copies_of_before_its_upgrades_are_left_out_with_a_note_unless_a_rule_names_them() {
        let entered = |rule: &'static str| {
            let mut expansion = Expansion::<()>::new(rule);
            let place = expansion.next_place().unwrap();
            expansion.enter(&place, Ok(vec!["manifests".into(), "tmp".into()]));
            let mut paths: Vec<String> =
                std::iter::from_fn(|| expansion.next_place()).map(|place| place.path).collect();
            paths.sort();
            (paths, expansion.notes)
        };
        let (paths, notes) = entered("/etc/kubernetes/");
        assert_eq!(paths, ["/etc/kubernetes/manifests"]);
        assert!(notes[0].starts_with("/etc/kubernetes/tmp: left out"), "{notes:?}");
        let (paths, notes) = entered("/etc/kubernetes/tmp/");
        assert_eq!((paths.len(), notes.len()), (2, 0), "an operator's own rule");
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
        let rule = format!("{root}/origin/out/passwd");
        let expanded = expand(&rule);
        assert!(expanded.found.is_empty());
        assert!(matches!(expanded.missing, Some(Missing::ThroughLink(link)) if link == "out"));
    }

    #[test]
    fn an_absent_file_is_reported_as_absent() {
        let (_dir, root) = tree();
        assert!(matches!(expand(&format!("{root}/nothing")).missing, Some(Missing::Absent)));
        assert!(matches!(expand(&format!("{root}/atomic-x/below")).missing, Some(Missing::Absent)));
    }

    #[test]
    fn of_several_directories_the_one_that_cannot_be_read_is_reported_and_not_the_one_without_the_file() {
        for absent_first in [true, false] {
            let mut expansion: Expansion<'_, ()> = Expansion::new("/etc/*/x.yaml");
            let root = expansion.next_place().unwrap();
            expansion.enter(&root, Ok(vec!["a".to_owned(), "b".to_owned()]));
            for absent in [absent_first, !absent_first] {
                let place = expansion.next_place().unwrap();
                let missing = if absent { Missing::Absent } else { Missing::Denied };
                assert!(!expansion.add(&place.path, Err(missing)));
            }
            assert!(matches!(expansion.missing, Some(Missing::Denied)), "{:?}", expansion.missing);
        }
    }

    #[test]
    fn a_path_that_is_too_deep_for_a_manifest_is_skipped_before_it_is_read() {
        let mut expansion = Expansion::new("/deep/");
        let mut depth = 0;
        // A directory that contains itself.
        while let Some(place) = expansion.next_place() {
            assert!(expansion.add(&place.path, Ok((FileKind::Directory, ()))));
            expansion.enter(&place, Ok(vec!["deep".to_owned()]));
            depth += 1;
        }
        assert_eq!((depth, expansion.left_out.len()), (64, 1), "{:?}", expansion.left_out);
    }
}
