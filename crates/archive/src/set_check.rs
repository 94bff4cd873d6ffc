//! What must still follow of the set that is being read, taken from its manifest.

use std::collections::HashMap;
use std::fmt;

use nightshift_core::digest::Digest;
use nightshift_core::manifest::{Item, ItemKind, Manifest};

use crate::contents::{ArchivedSet, header_time, is_packed};
use crate::entries::{Found, FoundKind};
use crate::error::ListError;

/// The entries of one set that were not seen yet, by their path below the archive's top folder.
pub(crate) struct SetCheck {
    open: HashMap<String, Expected>,
}

pub(crate) struct Expected {
    kind: FoundKind,
    sha256: Option<Digest>,
    /// Of the entries that stand in a manifest.
    attributes: Option<Attributes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attributes {
    uid: u64,
    gid: u64,
    mode: u32,
    modified: u64,
}

impl SetCheck {
    pub fn new(set: &ArchivedSet, manifest: &Manifest) -> Self {
        let folder = set.dir_name();
        let items = manifest.items.iter().filter(|item| is_packed(item));
        let items = items.map(|item| (format!("{folder}/{}", item.path), Expected::of(item)));
        let attached = set.attached.iter().map(|attached| {
            let kind = FoundKind::File { size: attached.size };
            let expected = Expected { kind, sha256: Some(attached.sha256), attributes: None };
            (attached.path.clone(), expected)
        });
        Self { open: items.chain(attached).collect() }
    }

    /// What is expected at a path, once.
    pub fn take(&mut self, path: &str) -> Option<Expected> {
        self.open.remove(path)
    }

    /// What was expected and did not come.
    pub fn absent(&self) -> Option<&String> {
        self.open.keys().min()
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, gid, mode, modified } = self;
        write!(f, "of owner {uid}:{gid} with mode {mode:04o} and time {modified}")
    }
}

impl Expected {
    fn of(item: &Item) -> Self {
        let (kind, sha256) = match &item.kind {
            ItemKind::File { size, sha256 } => (FoundKind::File { size: *size }, Some(*sha256)),
            ItemKind::Directory => (FoundKind::Folder, None),
            ItemKind::Symlink { target } => (FoundKind::Symlink { target: target.clone() }, None),
        };
        let attributes = Attributes {
            uid: item.owner.uid.into(),
            gid: item.owner.gid.into(),
            mode: item.mode,
            modified: header_time(item.modified),
        };
        Self { kind, sha256, attributes: Some(attributes) }
    }

    /// Compares all but the data.
    pub fn matches(&self, found: &Found<'_>) -> Result<(), ListError> {
        let attributes =
            Attributes { uid: found.uid, gid: found.gid, mode: found.mode, modified: found.modified };
        if self.kind != found.kind {
            return Err(differs(&found.path, &self.kind, &found.kind));
        }
        match self.attributes {
            Some(expected) if expected != attributes => Err(differs(&found.path, &expected, &attributes)),
            _ => Ok(()),
        }
    }

    /// Compares the data; what is no file has none.
    pub fn matches_content(&self, path: &str, found: Digest) -> Result<(), ListError> {
        match self.sha256 {
            Some(expected) if expected != found => {
                Err(differs(path, &format!("of SHA-256 {expected}"), &format!("of SHA-256 {found}")))
            }
            _ => Ok(()),
        }
    }
}

fn differs(path: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display) -> ListError {
    ListError::Differs { path: path.to_owned(), expected: expected.to_string(), found: found.to_string() }
}
