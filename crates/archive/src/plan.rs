//! What goes into an archive, entry by entry, decided before the first byte is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nightshift_core::archive::{ArchiveName, FORMAT, MANIFEST};
use nightshift_core::digest::Digest;
use nightshift_core::manifest::{self, Item, ItemKind, Manifest, Owner};
use nightshift_core::read_bounded;

use crate::contents::{ArchivedSet, Attached, Contents, folder_of, is_packed, top_folder};
use crate::damage::Damage;
use crate::error::PackError;
use crate::request::{HeldSet, PackRequest};

/// The most bytes that a signature or a proof may have.
const MOST_ATTACHED: u64 = 1 << 20;
/// Of the entries that are nightshift's own: a manifest names what a host keeps secret.
const OWN_MODE: u32 = 0o600;
const TOP_MODE: u32 = 0o700;

pub(crate) struct Plan<'a> {
    pub name: ArchiveName,
    pub top: String,
    /// The bytes of `archive.json`.
    pub contents: Vec<u8>,
    made_at: Timestamp,
    sets: Vec<PlannedSet<'a>>,
    /// Files beside a set that are neither signature nor proof, and so stay out.
    pub left_out: Vec<String>,
}

struct PlannedSet<'a> {
    held: &'a HeldSet,
    archived: ArchivedSet,
    manifest_size: u64,
}

/// One entry of the archive.
pub(crate) struct Entry<'a> {
    pub path: String,
    pub kind: EntryKind<'a>,
    pub owner: Owner,
    pub mode: u32,
    pub modified: Timestamp,
}

pub(crate) enum EntryKind<'a> {
    /// Bytes that are in memory already.
    Bytes(&'a [u8]),
    File(PlannedFile<'a>),
    Folder,
    Symlink(&'a str),
}

/// A file that must still be what it was when the set was made.
pub(crate) struct PlannedFile<'a> {
    pub set: &'a HeldSet,
    /// Relative to the folder in which the set lies.
    pub path: String,
    pub on_disk: PathBuf,
    pub size: u64,
    pub sha256: Digest,
}

impl<'a> Plan<'a> {
    pub fn of(request: &'a PackRequest) -> Result<Self, PackError> {
        let mut held: Vec<&HeldSet> = request.sets.iter().collect();
        held.sort_by_key(|set| &set.id);
        if let Some(twice) = held.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(PackError::Misplaced(twice[0].id.clone()));
        }
        let mut left_out = Vec::new();
        let mut sets: Vec<PlannedSet<'a>> = Vec::with_capacity(held.len());
        for held in held {
            if held.id.night != request.night {
                return Err(PackError::Misplaced(held.id.clone()));
            }
            // All attempts at a set share one folder of proofs.
            let proved_before = sets
                .last()
                .is_some_and(|last| (&last.held.id.host, last.held.id.role) == (&held.id.host, held.id.role));
            sets.push(PlannedSet::of(held, !proved_before, &mut left_out)?);
        }
        let name = request.name();
        let contents = Contents {
            format: FORMAT,
            cluster: request.cluster.clone(),
            host: request.host.clone(),
            night: request.night,
            edition: request.edition,
            made_at: request.made_at,
            made_with: request.made_with.clone(),
            sets: sets.iter().map(|set| set.archived.clone()).collect(),
            missing: request.missing.clone(),
        };
        let contents = contents.encode().map_err(PackError::Encode)?;
        Ok(Self { top: top_folder(&name), name, contents, made_at: request.made_at, sets, left_out })
    }

    /// Every entry, in the order in which it is written.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let contents = EntryKind::Bytes(&self.contents);
        let contents = own_entry(format!("{}/{MANIFEST}", self.top), contents, self.made_at);
        let top = Entry { mode: TOP_MODE, ..own_entry(self.top.clone(), EntryKind::Folder, self.made_at) };
        [contents, top].into_iter().chain(self.sets.iter().flat_map(|set| set.entries(&self.top)))
    }
}

impl<'a> PlannedSet<'a> {
    fn of(held: &'a HeldSet, with_proofs: bool, left_out: &mut Vec<String>) -> Result<Self, PackError> {
        let bytes = read_small(held, manifest::FILE, manifest::MAX_BYTES)?;
        if Manifest::decode(&bytes).ok().as_ref() != Some(&held.manifest) {
            return Err(held.damaged(manifest::FILE, Damage::OtherManifest));
        }
        let mut attached = Vec::new();
        if held.folder.join(manifest::SIGNATURE_FILE).symlink_metadata().is_ok() {
            let signature = read_small(held, manifest::SIGNATURE_FILE, MOST_ATTACHED)?;
            let path = format!("{}/{}", folder_of(&held.id), manifest::SIGNATURE_FILE);
            attached.push(attachment(path, &signature));
        }
        if with_proofs {
            attach_proofs(held, &mut attached, left_out)?;
        }
        let archived = ArchivedSet {
            id: held.id.clone(),
            grade: held.grade,
            manifest_sha256: Digest::of(&bytes),
            attached,
        };
        Ok(Self { held, archived, manifest_size: bytes.len() as u64 })
    }

    fn entries(&self, top: &str) -> impl Iterator<Item = Entry<'_>> {
        let folder = format!("{top}/{}", self.archived.dir_name());
        let manifest = Attached {
            path: format!("{}/{}", self.archived.dir_name(), manifest::FILE),
            size: self.manifest_size,
            sha256: self.archived.manifest_sha256,
        };
        let own: Vec<_> = [&manifest]
            .into_iter()
            .chain(&self.archived.attached)
            .map(|attached| self.attached_entry(top, attached))
            .collect();
        let mut items: Vec<&Item> = self.held.manifest.items.iter().filter(|item| is_packed(item)).collect();
        items.sort_by_key(|item| &item.path); // folders come before what lies in them
        own.into_iter().chain(items.into_iter().map(move |item| self.item_entry(&folder, item)))
    }

    fn attached_entry(&self, top: &str, attached: &Attached) -> Entry<'_> {
        // `<host>/etcd/manifest.json` or `<host>/etcd.proofs/…`: what follows the host lies beside the set.
        let path = attached.path.split_once('/').map_or("", |(_, path)| path).to_owned();
        let on_disk = self.held.folder.with_file_name(&path);
        let file =
            PlannedFile { set: self.held, path, on_disk, size: attached.size, sha256: attached.sha256 };
        own_entry(format!("{top}/{}", attached.path), EntryKind::File(file), self.held.manifest.made_at)
    }

    fn item_entry<'s>(&'s self, folder: &str, item: &'s Item) -> Entry<'s> {
        let kind = match &item.kind {
            ItemKind::File { size, sha256 } => EntryKind::File(PlannedFile {
                set: self.held,
                path: item.path.clone(),
                on_disk: self.held.folder.join(&item.path),
                size: *size,
                sha256: *sha256,
            }),
            ItemKind::Directory => EntryKind::Folder,
            ItemKind::Symlink { target } => EntryKind::Symlink(target),
        };
        Entry {
            path: format!("{folder}/{}", item.path),
            kind,
            owner: item.owner.clone(),
            mode: item.mode,
            modified: item.modified,
        }
    }
}

fn own_entry(path: String, kind: EntryKind<'_>, modified: Timestamp) -> Entry<'_> {
    let root = Some("root".to_owned());
    let owner = Owner { uid: 0, gid: 0, user: root.clone(), group: root };
    Entry { path, kind, owner, mode: OWN_MODE, modified }
}

fn attachment(path: String, bytes: &[u8]) -> Attached {
    Attached { path, size: bytes.len() as u64, sha256: Digest::of(bytes) }
}

fn attach_proofs(
    held: &HeldSet,
    attached: &mut Vec<Attached>,
    left_out: &mut Vec<String>,
) -> Result<(), PackError> {
    let proofs = format!("{}.proofs", held.id.role);
    let damaged = |why| held.damaged(&proofs, Damage::Unreadable(why));
    let entries = match held.folder.with_file_name(&proofs).read_dir() {
        Ok(entries) => entries,
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(damaged(why)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(damaged)?.file_name());
    }
    names.sort();
    for name in names {
        let shown = format!("{}/{proofs}/{}", held.id.host, name.display());
        let bytes = match name.to_str() {
            Some(name) if name.ends_with(".json") => {
                read_regular(&held.folder.with_file_name(&proofs).join(name), MOST_ATTACHED).ok()
            }
            _ => None,
        };
        match bytes {
            Some(bytes) => attached.push(attachment(shown, &bytes)),
            None => left_out.push(shown),
        }
    }
    Ok(())
}

fn read_small(held: &HeldSet, name: &str, most: u64) -> Result<Vec<u8>, PackError> {
    read_regular(&held.folder.join(name), most).map_err(|why| held.damaged(name, why))
}

fn read_regular(path: &Path, max: u64) -> Result<Vec<u8>, Damage> {
    read_bounded(open_regular(path)?, max).map_err(Damage::Unreadable)
}

/// Opens a file of a set: never through a link, and without waiting for whoever writes to a pipe.
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
