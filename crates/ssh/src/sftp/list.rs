//! Listing a folder whose names may be hostile.

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::StatusCode;

use nightshift_core::manifest::is_safe_path;

use super::{Sftp, SftpError, Stat};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub stat: Stat,
}

/// A folder's entries, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub entries: Vec<DirEntry>,
    /// How many names were left out because they could not be used safely: not UTF-8, with a slash, control characters.
    pub unsafe_names: usize,
}

impl Sftp {
    /// Lists a folder of at most `max_entries` entries, without following symlinks.
    pub async fn list(&self, path: &str, max_entries: usize) -> Result<Listing, SftpError> {
        let folder = self.open_folder(path).await?;
        let doing = folder.doing("list");
        let mut listing = Listing::default();
        let mut seen = 0;
        loop {
            let batch = async {
                match self.channel.raw.readdir(folder.handle()).await {
                    Err(ProtocolError::Status(status)) if status.status_code == StatusCode::Eof => Ok(None),
                    other => other.map(Some),
                }
            };
            let Some(batch) = self.channel.ask(doing, batch).await? else { break };
            // An answer without names would let a server keep us here for ever.
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

/// Whether a name can be used: one component of a path, and nothing that a terminal would act upon.
fn is_usable(name: &str) -> bool {
    // russh-sftp puts U+FFFD where a name was not UTF-8; such a name leads nowhere.
    is_safe_path(name)
        && !name.contains(['/', char::REPLACEMENT_CHARACTER])
        && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_or_nowhere_is_left_out() {
        for bad in ["", ".", "..", "a/b", "/etc", "a\0b", "a\nb", "\u{1b}[2J", "\u{fffd}"] {
            assert!(!is_usable(bad), "{bad:?}");
        }
        for good in ["node-config.yaml", ".hidden", "a b", "dev\\x2dsda.mount", "größe"] {
            assert!(is_usable(good), "{good:?}");
        }
    }
}
