//! Counts the keys below each prefix, such as `/kubernetes.io/pods`, and in it by namespace.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::index::{IndexError, Key, KeyIndex};

/// How many prefixes are counted separately.
const MAX_PREFIXES: usize = 4096;
/// How many namespaces, of all prefixes together, are counted separately.
const MAX_NAMESPACES: usize = 1 << 16;
/// Longer prefixes and namespaces are not counted separately. In bytes.
const MAX_NAME_LEN: usize = 512;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The number of existing keys.
    pub keys: u64,
    /// The number of their revisions, including deletions.
    pub revisions: u64,
    /// The bytes of the keys and values of all revisions.
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefix {
    pub total: Count,
    /// Empty if the objects have no namespace. Keys without a namespace, and of namespaces above the maximum, are only in the
    /// total.
    pub namespaces: BTreeMap<Vec<u8>, Count>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes {
    pub total: Count,
    pub by_prefix: BTreeMap<Vec<u8>, Prefix>,
    /// The keys of prefixes that are not counted separately.
    pub rest: Count,
    namespaces: usize,
}

impl Count {
    pub fn plus(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            revisions: self.revisions + other.revisions,
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn add(&mut self, key: &Key) {
        self.keys += u64::from(key.is_live());
        self.revisions += key.revisions;
        self.bytes = self.bytes.saturating_add(key.bytes);
    }
}

impl Prefixes {
    pub fn of(index: &KeyIndex) -> Result<Self, IndexError> {
        let mut prefixes = Self::default();
        for key in index.keys()? {
            prefixes.add(&key?);
        }
        Ok(prefixes)
    }

    fn add(&mut self, key: &Key) {
        self.total.add(key);
        let (prefix, namespace) = split(&key.newest.key);
        let separate = self.by_prefix.len() < MAX_PREFIXES && prefix.len() <= MAX_NAME_LEN;
        // Most keys have a known prefix; for these nothing is allocated.
        let group = match self.by_prefix.get_mut(prefix) {
            Some(group) => group,
            None if separate => self.by_prefix.entry(prefix.to_vec()).or_default(),
            None => return self.rest.add(key),
        };
        group.total.add(key);
        let Some(namespace) = namespace else { return };
        match group.namespaces.get_mut(namespace) {
            Some(count) => count.add(key),
            None if self.namespaces < MAX_NAMESPACES && namespace.len() <= MAX_NAME_LEN => {
                self.namespaces += 1;
                group.namespaces.entry(namespace.to_vec()).or_default().add(key);
            }
            None => {}
        }
    }
}

/// The prefix of a key and its namespace, as Kubernetes and OpenShift store their objects:
/// `/registry/pods/NAMESPACE/NAME`, `/registry/services/specs/NAMESPACE/NAME`,
/// `/registry/GROUP.DOMAIN/things/NAMESPACE/NAME`, `/registry/minions/NAME`.
fn split(key: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut ends = key.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let Some(first) = ends.next() else { return (key, None) };
    let Some(second) = ends.next() else { return (&key[..first], None) };
    let group = &key[first + 1..second];
    let third = ends.next();
    let deeper = group.contains(&b'.') || group == b"services";
    let (end, next) = match third {
        Some(third) if deeper => (third, ends.next()),
        third => (second, third),
    };
    (&key[..end], next.map(|next| &key[end + 1..next]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_grouped_as_kubernetes_stores_its_objects() {
        for (key, prefix, namespace) in [
            ("/registry/pods/default/web-1", "/registry/pods", Some("default")),
            ("/kubernetes.io/minions/node1", "/kubernetes.io/minions", None),
            ("/registry/services/specs/kube-system/dns", "/registry/services/specs", Some("kube-system")),
            ("/registry/example.com/things/ns/a", "/registry/example.com/things", Some("ns")),
            ("/registry/example.com/wholes/a", "/registry/example.com/wholes", None),
            ("/registry/ranges/serviceips", "/registry/ranges", None),
            ("/openshift.io/routes/shop/web", "/openshift.io/routes", Some("shop")),
            ("/canary/1", "/canary", None),
            ("compact_rev_key", "compact_rev_key", None),
            ("", "", None),
        ] {
            let found = split(key.as_bytes());
            assert_eq!(found, (prefix.as_bytes(), namespace.map(str::as_bytes)), "{key}");
        }
    }
}
