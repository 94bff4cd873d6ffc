//! The entries of an archive, decided before the first byte is written.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::{io, iter};

use jiff::Timestamp;
use nightshift_core::archive::{ArchiveName, FORMAT, MANIFEST};
use nightshift_core::digest::Digest;
use nightshift_core::manifest::{self, Item, ItemKind, Manifest, Owner};
use nightshift_core::proof::{EXTENSION, SIGNATURE_EXTENSION};
use nightshift_core::read_bounded;

use crate::contents::{ArchivedSet, Attached, Contents, Rules};
use crate::damage::Damage;
use crate::error::PackError;
use crate::request::{OwnFile, PackRequest, StoredSet};

/// Bytes of a signature or a proof.
const MAX_ATTACHED: u64 = 1 << 20;
/// Of nightshift's own entries. They are private, because a manifest names a host's secret files.
const OWN_MODE: u32 = 0o600;
const TOP_MODE: u32 = 0o700;

pub(crate) struct Plan<'a> {
    pub name: ArchiveName,
    pub top: String,
    /// The bytes of `archive.json`.
    pub contents: Vec<u8>,
    made_at: Timestamp,
    files: &'a [OwnFile],
    sets: Vec<PlannedSet<'a>>,
    /// Files beside the sets that are neither signatures nor proofs.
    pub left_out: Vec<String>,
}

struct PlannedSet<'a> {
    stored: &'a StoredSet,
    archived: ArchivedSet,
    manifest: Attached,
    rules: Rules<'a>,
}

/// One entry of the archive.
pub(crate) struct Entry<'a> {
    pub path: String,
    pub kind: EntryKind<'a>,
    pub owner: Owner,
    pub mode: u32,
    pub modified: Timestamp,
    /// Its ACLs and capability, as records of the tar.
    pub pax: Vec<u8>,
}

pub(crate) enum EntryKind<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    File(PlannedFile<'a>),
    Directory,
    Symlink(Cow<'a, str>),
}

/// A file that must be unchanged since the set was made.
pub(crate) struct PlannedFile<'a> {
    pub set: &'a StoredSet,
    /// Relative to the set's directory, or to its parent for an attached file.
    pub path: String,
    pub on_disk: PathBuf,
    pub size: u64,
    pub sha256: Digest,
}

impl<'a> Plan<'a> {
    pub fn of(request: &'a PackRequest) -> Result<Self, PackError> {
        let mut requested: Vec<&StoredSet> = request.sets.iter().collect();
        requested.sort_by_key(|set| &set.id);
        if let Some(twice) = requested.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(PackError::Misplaced(twice[0].id.clone()));
        }
        let mut left_out = Vec::new();
        let mut sets: Vec<PlannedSet<'a>> = Vec::with_capacity(requested.len());
        for set in requested {
            if set.id.night != request.contents.night {
                return Err(PackError::Misplaced(set.id.clone()));
            }
            sets.push(PlannedSet::of(set, &mut left_out)?);
        }
        let name = request.name();
        let archived = sets.iter().map(|set| set.archived.clone()).collect();
        let files =
            request.files.iter().map(|file| attachment(file.name.to_owned(), file.content.as_bytes()));
        let files = files.collect();
        let contents = Contents { format: FORMAT, sets: archived, files, ..request.contents.clone() };
        let made_at = contents.made_at;
        let contents = contents.encode().map_err(PackError::Encode)?;
        Ok(Self { top: name.top_directory(), name, contents, made_at, files: &request.files, sets, left_out })
    }

    /// Every entry, in the order in which it is written.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let contents = EntryKind::Bytes(&self.contents);
        let contents = own_entry(format!("{}/{MANIFEST}", self.top), contents, self.made_at);
        let top = Entry { mode: TOP_MODE, ..own_entry(self.top.clone(), EntryKind::Directory, self.made_at) };
        let files = self.files.iter().map(|file| {
            let content = EntryKind::Bytes(file.content.as_bytes());
            own_entry(format!("{}/{}", self.top, file.name), content, self.made_at)
        });
        [contents, top]
            .into_iter()
            .chain(files)
            .chain(self.sets.iter().flat_map(|set| set.entries(&self.top)))
    }
}

impl<'a> PlannedSet<'a> {
    fn of(stored: &'a StoredSet, left_out: &mut Vec<String>) -> Result<Self, PackError> {
        let bytes = read_small(stored, manifest::FILE, manifest::max_bytes(stored.id.role))?;
        if Manifest::decode(&bytes).ok().as_ref() != Some(&stored.manifest) {
            return Err(stored.damaged(manifest::FILE, Damage::OtherManifest));
        }
        let own = |name: &str, bytes: &[u8]| attachment(format!("{}/{name}", stored.id.in_night()), bytes);
        let manifest = own(manifest::FILE, &bytes);
        let mut attached = Vec::new();
        if stored.directory.join(manifest::SIGNATURE_FILE).symlink_metadata().is_ok() {
            let signature = read_small(stored, manifest::SIGNATURE_FILE, MAX_ATTACHED)?;
            attached.push(own(manifest::SIGNATURE_FILE, &signature));
        }
        attach_proofs(stored, &mut attached, left_out);
        let (id, grade, manifest_sha256) = (stored.id.clone(), stored.grade, manifest.sha256);
        let rules = Rules::of(FORMAT, &stored.manifest);
        let left_out = rules.left_out(&stored.manifest).map(|item| item.path.as_str()).collect();
        let archived = ArchivedSet { id, grade, manifest_sha256, attached, left_out };
        Ok(Self { stored, archived, manifest, rules })
    }

    fn entries(&self, top: &str) -> impl Iterator<Item = Entry<'_>> {
        let directory = format!("{top}/{}", self.archived.dir_name());
        let own = iter::once(&self.manifest).chain(&self.archived.attached);
        let own: Vec<_> = own.map(|attached| self.attached_entry(top, attached)).collect();
        let mut items: Vec<&Item> = self.stored.manifest.items.iter().collect();
        items.sort_by_key(|item| &item.path); // directories come before their files
        own.into_iter().chain(items.into_iter().filter_map(move |item| self.item_entry(&directory, item)))
    }

    fn attached_entry(&self, top: &str, attached: &Attached) -> Entry<'_> {
        // `<host>/etcd/manifest.json` or `<host>/etcd.proofs/…`: the part after the host is relative to the parent of the
        // set's directory.
        let path = attached.path.split_once('/').map_or("", |(_, path)| path).to_owned();
        let on_disk = self.stored.directory.with_file_name(&path);
        let file =
            PlannedFile { set: self.stored, path, on_disk, size: attached.size, sha256: attached.sha256 };
        own_entry(format!("{top}/{}", attached.path), EntryKind::File(file), self.stored.manifest.made_at)
    }

    /// `None` where an item is in the manifest only.
    fn item_entry<'s>(&'s self, directory: &str, item: &'s Item) -> Option<Entry<'s>> {
        let kind = match &item.kind {
            ItemKind::File { size, sha256 } => EntryKind::File(PlannedFile {
                set: self.stored,
                path: item.path.clone(),
                on_disk: self.stored.directory.join(&item.path),
                size: *size,
                sha256: *sha256,
            }),
            ItemKind::Directory => EntryKind::Directory,
            ItemKind::Symlink { target } => EntryKind::Symlink(self.rules.target(item, target)?),
        };
        Some(Entry {
            path: format!("{directory}/{}", item.path),
            kind,
            owner: item.owner.clone(),
            mode: self.rules.mode(item),
            modified: item.modified,
            pax: self.rules.pax(item),
        })
    }
}

fn own_entry(path: String, kind: EntryKind<'_>, modified: Timestamp) -> Entry<'_> {
    let root = Some("root".to_owned());
    let owner = Owner { uid: 0, gid: 0, user: root.clone(), group: root };
    Entry { path, kind, owner, mode: OWN_MODE, modified, pax: Vec::new() }
}

fn attachment(path: String, bytes: &[u8]) -> Attached {
    Attached { path, size: bytes.len() as u64, sha256: Digest::of(bytes) }
}

/// Adds the proofs of a set. What cannot be read is left out, and the set is packed without it.
fn attach_proofs(stored: &StoredSet, attached: &mut Vec<Attached>, left_out: &mut Vec<String>) {
    let proofs = format!("{}.proofs", stored.id.dir_name());
    let names = match names_in(&stored.directory.with_file_name(&proofs)) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(_) => return left_out.push(format!("{}/{proofs}", stored.id.host)),
    };
    for name in names {
        let shown = format!("{}/{proofs}/{}", stored.id.host, name.display());
        let bytes = match name.to_str() {
            Some(name) if name.strip_suffix(SIGNATURE_EXTENSION).unwrap_or(name).ends_with(EXTENSION) => {
                read_regular(&stored.directory.with_file_name(&proofs).join(name), MAX_ATTACHED).ok()
            }
            _ => None,
        };
        match bytes {
            Some(bytes) => attached.push(attachment(shown, &bytes)),
            None => left_out.push(shown),
        }
    }
}

fn names_in(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in directory.read_dir()? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

fn read_small(stored: &StoredSet, name: &str, max: u64) -> Result<Vec<u8>, PackError> {
    read_regular(&stored.directory.join(name), max).map_err(|error| stored.damaged(name, error))
}

fn read_regular(path: &Path, max: u64) -> Result<Vec<u8>, Damage> {
    read_bounded(open_regular(path)?, max).map_err(Damage::Unreadable)
}

/// Opens a file of a set. It does not follow a link, and does not wait for the writer of a pipe.
pub(crate) fn open_regular(path: &Path) -> Result<File, Damage> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(Damage::Unreadable)?;
    let is_file = file.metadata().map_err(Damage::Unreadable)?.is_file();
    is_file.then_some(file).ok_or(Damage::NotAFile)
}
