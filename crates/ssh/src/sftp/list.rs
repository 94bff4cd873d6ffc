//! Lists a directory whose names may be hostile.

use nightshift_core::manifest::is_safe_path;
use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::StatusCode;

use super::{Sftp, SftpError, Stat};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub stat: Stat,
}

/// About the bytes of an entry in a listing.
const ENTRY_LEN: u64 = 128;

/// A directory's entries, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub entries: Vec<DirEntry>,
    /// How many names were left out because they are unsafe: not UTF-8, with a slash or control characters.
    pub unsafe_names: usize,
}

impl Sftp {
    /// Lists a directory of at most `max_entries` entries, without following symlinks.
    pub async fn list(&self, path: &str, max_entries: usize) -> Result<Listing, SftpError> {
        let directory = self.open_dir(path).await?;
        let operation = directory.operation("list");
        let mut listing = Listing::default();
        let mut seen = 0;
        let pace = self.channel.pace();
        loop {
            let batch = async {
                match self.channel.raw.readdir(directory.handle()).await {
                    Err(ProtocolError::Status(status)) if status.status_code == StatusCode::Eof => Ok(None),
                    other => other.map(Some),
                }
            };
            let Some(batch) = self.channel.paced(operation, pace, seen as u64 * ENTRY_LEN, batch).await?
            else {
                break;
            };
            // An empty response counts as one entry: otherwise a server could keep this loop running forever.
            seen += batch.files.len().max(1);
            if seen > max_entries.saturating_add(2) {
                return Err(SftpError::TooBig {
                    peer: self.peer().to_owned(),
                    path: path.to_owned(),
                    limit: max_entries as u64,
                    unit: "entries",
                });
            }
            for file in batch.files {
                listing.add(file.filename, Stat::from(&file.attrs));
            }
        }
        listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }
}

impl Listing {
    fn add(&mut self, name: String, stat: Stat) {
        if name == "." || name == ".." {
            return;
        }
        if !is_usable(&name) {
            self.unsafe_names += 1;
            return;
        }
        self.entries.push(DirEntry { name, stat });
    }
}

/// Whether a name is safe: a single path component without control characters, which a terminal could interpret.
fn is_usable(name: &str) -> bool {
    // russh-sftp replaces bytes that are not UTF-8 with U+FFFD; a file cannot be opened by such a name.
    is_safe_path(name)
        && !name.contains(['/', char::REPLACEMENT_CHARACTER])
        && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsafe_name_is_left_out() {
        for bad in ["", ".", "..", "a/b", "/etc", "a\0b", "a\nb", "\u{1b}[2J", "\u{fffd}"] {
            assert!(!is_usable(bad), "{bad:?}");
        }
        for good in ["node-config.yaml", ".hidden", "a b", "dev\\x2dsda.mount", "größe"] {
            assert!(is_usable(good), "{good:?}");
        }
    }
}
