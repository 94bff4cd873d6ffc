//! The entries that must still follow of the set that is being read, by its manifest.

use std::collections::HashMap;
use std::fmt;

use nightshift_core::digest::Digest;
use nightshift_core::manifest::{Item, ItemKind, Manifest};

use crate::contents::{ArchivedSet, Attached, Rules, header_time};
use crate::entries::{Attributes, Found, FoundKind};
use crate::error::ListError;

/// The entries of one set that were not read yet, by their path below the archive's top directory.
pub(crate) struct SetCheck {
    missing: HashMap<String, Expected>,
}

pub(crate) struct Expected {
    kind: FoundKind,
    sha256: Option<Digest>,
    /// Only of the entries that a manifest lists.
    attributes: Option<Attributes>,
    pax: Vec<u8>,
}

impl SetCheck {
    pub fn new(format: u32, set: &ArchivedSet, manifest: &Manifest) -> Self {
        let rules = Rules::of(format, manifest);
        let directory = set.dir_name();
        let items = manifest
            .items
            .iter()
            .filter_map(|item| Some((format!("{directory}/{}", item.path), Expected::of(item, &rules)?)));
        let attached = set.attached.iter();
        let attached = attached.map(|attached| (attached.path.clone(), Expected::attached(attached)));
        Self { missing: items.chain(attached).collect() }
    }

    /// Returns what is expected at a path, once.
    pub fn take(&mut self, path: &str) -> Option<Expected> {
        self.missing.remove(path)
    }

    /// The first entry that did not follow.
    pub fn missing(&self) -> Option<&String> {
        self.missing.keys().min()
    }
}

impl Expected {
    /// A file that no manifest lists.
    pub fn attached(attached: &Attached) -> Self {
        let kind = FoundKind::File { size: attached.size };
        Self { kind, sha256: Some(attached.sha256), attributes: None, pax: Vec::new() }
    }

    /// `None` where the item has no entry.
    fn of(item: &Item, rules: &Rules<'_>) -> Option<Self> {
        let (kind, sha256) = match &item.kind {
            ItemKind::File { size, sha256 } => (FoundKind::File { size: *size }, Some(*sha256)),
            ItemKind::Directory => (FoundKind::Directory, None),
            ItemKind::Symlink { target } => {
                (FoundKind::Symlink { target: rules.target(item, target)?.into_owned() }, None)
            }
        };
        let attributes = Attributes {
            uid: item.owner.uid.into(),
            gid: item.owner.gid.into(),
            mode: rules.mode(item),
            modified: header_time(item.modified),
        };
        Some(Self { kind, sha256, attributes: Some(attributes), pax: rules.pax(item) })
    }

    /// Compares the header.
    pub fn matches(&self, found: &Found<'_>) -> Result<(), ListError> {
        if self.kind != found.kind {
            return Err(differs(&found.path, &self.kind, &found.kind));
        }
        if self.pax != found.pax {
            let shown = |pax: &[u8]| format!("with the ACLs and capabilities \"{}\"", pax.escape_ascii());
            return Err(differs(&found.path, &shown(&self.pax), &shown(&found.pax)));
        }
        match self.attributes {
            Some(expected) if expected != found.attributes => {
                Err(differs(&found.path, &expected, &found.attributes))
            }
            _ => Ok(()),
        }
    }

    /// Compares the data. Only a file has any.
    pub fn matches_content(&self, path: &str, found: Digest) -> Result<(), ListError> {
        match self.sha256 {
            Some(expected) if expected != found => Err(other_content(path, expected, found)),
            _ => Ok(()),
        }
    }
}

pub(crate) fn other_content(path: &str, expected: Digest, found: Digest) -> ListError {
    differs(path, &format_args!("of SHA-256 {expected}"), &format_args!("of SHA-256 {found}"))
}

fn differs(path: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display) -> ListError {
    ListError::Differs { path: path.to_owned(), expected: expected.to_string(), found: found.to_string() }
}
