//! The name of an archive: `<host>_<YYYY.MM.DD>.tgz`, for example `m1_2026.11.22.tgz`.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use crate::name::{HostName, RemoteName};
use crate::night::Night;
use crate::settings::Compression;

/// The SSHSIG namespace under which archives are signed.
pub const NAMESPACE: &str = "nightshift-archive";
/// The archive's own manifest, its first entry.
pub const MANIFEST: &str = "archive.json";
/// How a cluster is restored by hand, in each archive.
pub const RESTORE_TEXT: &str = "RESTORE.txt";
/// The keys that sign archives, for `ssh-keygen -Y verify`, in each archive.
pub const ALLOWED_SIGNERS: &str = "allowed_signers";
/// The format that is written, and the newest one that is read. Since format 2 links that leave their set are rewritten, and headers
/// have no set-uid bits. Since format 3 there are files beside the sets.
pub const FORMAT: u32 = 3;

/// The number of names that are tried for an archive on a remote. Each is compared with what is there, every night.
const MAX_NAMES: u16 = 9;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveName {
    pub host: HostName,
    pub date: Date,
    /// 1 for the first archive of a night. Later archives also contain the sets that arrived late.
    pub edition: u16,
    /// The number of the extra night; 0 for a scheduled night.
    pub extra: u16,
    pub zstd: bool,
    pub encrypted: bool,
}

impl ArchiveName {
    pub fn new(host: HostName, date: Date, extra: u16, compression: Compression, encrypted: bool) -> Self {
        Self { host, date, edition: 1, extra, zstd: compression == Compression::Zstd, encrypted }
    }

    /// The longest name of an archive of a host: a file system may allow only shorter ones.
    pub fn longest(host: HostName, compression: Compression, encrypted: bool) -> Self {
        Self { edition: 99, ..Self::new(host, Date::MAX, 99, compression, encrypted) }
    }

    pub const fn night(&self) -> Night {
        Night { date: self.date, extra: self.extra }
    }

    /// The same archive under the name of a later edition.
    pub fn with_edition(&self, edition: u16) -> Self {
        Self { edition, ..self.clone() }
    }

    /// The archive's one top directory: its name without the suffixes of compression and encryption.
    pub fn top_directory(&self) -> String {
        let name = self.to_string();
        let end = name.rfind(if self.zstd { ".tar.zst" } else { ".tgz" });
        end.map_or(name.clone(), |end| name[..end].to_owned())
    }

    /// The names that it may have on a remote where its own is taken by other content: those of later editions.
    pub fn names_on_remote(&self) -> Vec<String> {
        let editions = self.edition..self.edition.saturating_add(MAX_NAMES);
        editions.map(|edition| self.with_edition(edition).to_string()).collect()
    }
}

/// The file in the outbox that says how much of an archive a remote has.
pub fn delivery_file(archive: &impl fmt::Display, remote: &RemoteName) -> String {
    format!(".{archive}.{remote}.delivery")
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.host, self.date.strftime("%Y.%m.%d"))?;
        if self.extra > 0 {
            write!(f, "-{}", self.extra)?;
        }
        if self.edition > 1 {
            write!(f, ".{}", self.edition)?;
        }
        f.write_str(if self.zstd { ".tar.zst" } else { ".tgz" })?;
        f.write_str(if self.encrypted { ".age" } else { "" })
    }
}

/// The file name is not that of a nightshift archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an archive name; expected `<host>_<YYYY.MM.DD>.tgz`")]
pub struct NotAnArchive;

impl FromStr for ArchiveName {
    type Err = NotAnArchive;
    fn from_str(text: &str) -> Result<Self, NotAnArchive> {
        let (rest, encrypted) = text.strip_suffix(".age").map_or((text, false), |rest| (rest, true));
        let (rest, zstd) = match (rest.strip_suffix(".tgz"), rest.strip_suffix(".tar.zst")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Err(NotAnArchive),
        };
        let (host, rest) = rest.rsplit_once('_').ok_or(NotAnArchive)?;
        let (date, tail) = rest.split_at_checked(10).ok_or(NotAnArchive)?;
        let (extra, edition) = match tail.split_once('.') {
            Some((extra, edition)) => (extra, edition.parse().map_err(|_| NotAnArchive)?),
            None => (tail, 1),
        };
        let extra = match extra.strip_prefix('-') {
            Some(extra) => extra.parse().map_err(|_| NotAnArchive)?,
            None => 0,
        };
        let name = Self {
            host: host.parse().map_err(|_| NotAnArchive)?,
            date: date.replace('.', "-").parse().map_err(|_| NotAnArchive)?,
            edition,
            extra,
            zstd,
            encrypted,
        };
        (name.to_string() == text).then_some(name).ok_or(NotAnArchive)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_archive_name_has_one_spelling() {
        for good in [
            "m001_2026.11.22.tgz",
            "m001.example.com_2026.11.22.tgz.age",
            "m001_2026.11.22.2.tgz",
            "m001_2026.11.22-1.tar.zst.age",
        ] {
            assert_eq!(good.parse::<ArchiveName>().unwrap().to_string(), good);
        }
        for bad in [
            "m001.tgz",
            "m001_2026.11.22.zip",
            "m001_2026.11.22.1.tgz",
            "_2026.11.22.tgz",
            "m001_2026.11.22.tgz.part",
        ] {
            assert!(bad.parse::<ArchiveName>().is_err(), "{bad}");
        }
    }
}
