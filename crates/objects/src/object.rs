//! An object in a snapshot. Its bytes are read when they are needed.

use std::fmt;

use nightshift_core::text::one_line;
use nightshift_snapshot::Revision;

use crate::metadata::{Format, Metadata, Owner};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: Vec<u8>,
    /// In which its newest value was written.
    pub revision: Revision,
    pub format: Format,
    pub meta: Metadata,
}

impl Object {
    /// The group of its API version: empty for the core's.
    pub fn group(&self) -> &str {
        self.meta.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Kind, namespace and name, as text for a terminal.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metadata { kind, namespace, name, .. } = &self.meta;
        let slash = if namespace.is_empty() { "" } else { "/" };
        f.write_str(&one_line(&format!("{kind} {namespace}{slash}{name}")))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&format!("{} {} (uid {})", self.kind, self.name, self.uid)))
    }
}
