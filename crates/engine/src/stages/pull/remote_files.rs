//! The paths that a rule names on another host, over SFTP; `collect` does the same for local files.

use nightshift_core::manifest::{MAX_ITEMS, is_safe_path};
use nightshift_ssh::{FileKind, Sftp, SftpError, Stat};

use crate::collect::glob::{is_glob, matches, parts};

/// The maximum number of entries in a directory.
const MAX_ENTRIES: usize = 20_000;

#[derive(Debug, Clone)]
pub struct Found {
    /// Absolute.
    pub path: String,
    pub stat: Stat,
}

#[derive(Debug, Default)]
pub struct Expanded {
    pub found: Vec<Found>,
    /// Why nothing was found.
    pub missing: Option<String>,
    pub notes: Vec<String>,
}

/// A path that is still to be expanded, and the components of the rule below it.
struct Open<'a> {
    path: String,
    rest: Vec<&'a str>,
}

pub async fn expand(sftp: &Sftp, rule: &str) -> Result<Expanded, SftpError> {
    let mut expanded = Expanded::default();
    let mut open = vec![Open { path: String::new(), rest: parts(rule) }];
    while let Some(Open { path, rest }) = open.pop() {
        if expanded.found.len() > MAX_ITEMS {
            break;
        }
        match rest.iter().position(|part| is_glob(part)) {
            Some(at) => {
                let directory = join(&path, &rest[..at]);
                for name in names(sftp, &directory, &mut expanded).await? {
                    if matches(rest[at], &name) {
                        open.push(Open {
                            path: format!("{directory}/{name}"),
                            rest: rest[at + 1..].to_vec(),
                        });
                    }
                }
            }
            None => add(sftp, join(&path, &rest), &mut expanded, &mut open).await?,
        }
    }
    expanded.found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(expanded)
}

/// Adds one path; the entries of a directory are expanded next.
async fn add(
    sftp: &Sftp,
    path: String,
    expanded: &mut Expanded,
    open: &mut Vec<Open<'_>>,
) -> Result<(), SftpError> {
    if !is_safe_path(path.trim_start_matches('/')) {
        expanded.notes.push(format!("{path}: skipped, because the path is too long or too deep"));
        return Ok(());
    }
    let stat = match sftp.lstat(&path).await {
        Ok(stat) => stat,
        Err(error) if error.is_gone() => {
            expanded.missing = Some("absent".to_owned());
            return Ok(());
        }
        Err(error) if error.is_connection() => return Err(error),
        Err(error) => {
            expanded.missing = Some(error.to_string());
            return Ok(());
        }
    };
    if stat.kind == FileKind::Directory {
        for name in names(sftp, &path, expanded).await? {
            open.push(Open { path: format!("{path}/{name}"), rest: Vec::new() });
        }
    }
    expanded.found.push(Found { path, stat });
    Ok(())
}

async fn names(sftp: &Sftp, directory: &str, expanded: &mut Expanded) -> Result<Vec<String>, SftpError> {
    match sftp.list(if directory.is_empty() { "/" } else { directory }, MAX_ENTRIES).await {
        Ok(listing) => {
            if listing.unsafe_names > 0 {
                expanded.notes.push(format!("{directory}: skipped {} unusable names", listing.unsafe_names));
            }
            Ok(listing.entries.into_iter().map(|entry| entry.name).collect())
        }
        Err(error) if error.is_connection() => Err(error),
        Err(error) => {
            expanded.missing = Some(error.to_string());
            Ok(Vec::new())
        }
    }
}

fn join(path: &str, parts: &[&str]) -> String {
    parts.iter().fold(path.to_owned(), |path, part| format!("{path}/{part}"))
}
