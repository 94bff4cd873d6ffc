//! What a plan is made from: the sets of one night, with the content of their small files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::manifest::{Item, ItemKind, Manifest};
use crate::name::HostName;
use crate::night::Night;
use crate::outcome::Grade;
use crate::restore::copy::EtcdCopy;
use crate::role::Role;
use crate::set_path::SetId;
use crate::settings::Settings;

/// Bytes of a configuration: a larger file is not read for the plan.
pub const MAX_TEXT: u64 = 1 << 20;
/// The name of nightshift's configuration, which every set contains.
pub const CONFIGURATION: &str = "nightshift.toml";
/// Files that a plan reads, by the ending of their path in the set: configurations and what they name.
const READ: [&str; 11] =
    [".conf", ".yaml", ".yml", ".env", "/etcd", ".kubeconfig", ".crt", ".cert", ".cer", ".pem", ".key"];
/// Of a node, of which there may be thousands, only those that can be a kubelet's.
const READ_OF_NODES: [&str; 3] = ["/etc/origin/node/", "/etc/kubernetes/", "/var/lib/kubelet/"];

/// The sets of a night, and the cluster that they describe.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Of the `nightshift.toml` in the sets.
    pub settings: &'a Settings,
    pub night: Night,
    /// Where the sets are from, as text.
    pub source: String,
    /// Who signed them, as text.
    pub signed: String,
    pub sets: Vec<FoundSet>,
    /// The data of a member that survived the loss of the quorum, which is restored instead of a snapshot.
    pub survivor: Option<EtcdCopy>,
    pub now: Timestamp,
}

/// One set, of which every byte was verified by its manifest.
#[derive(Debug, Clone)]
pub struct FoundSet {
    pub manifest: Manifest,
    /// As the vault or the archive has it, which may be worse than the manifest's.
    pub grade: Grade,
    /// The small files by their paths in the set.
    pub texts: BTreeMap<String, Vec<u8>>,
}

/// Whether a plan reads this file's content.
pub fn is_read(role: Role, item: &Item) -> bool {
    matches!(item.kind, ItemKind::File { size, .. } if size <= MAX_TEXT)
        && READ.iter().any(|ending| item.path.ends_with(ending))
        && (role != Role::Node || READ_OF_NODES.iter().any(|directory| item.source.contains(directory)))
}

/// nightshift's own configuration in a set, by which the hosts of the cluster are known.
pub fn configuration(manifest: &Manifest) -> Option<&Item> {
    manifest.items.iter().find(|item| item.source.rsplit('/').next() == Some(CONFIGURATION))
}

impl Evidence<'_> {
    /// The best set of a host and role: by its grade, then by its number.
    pub fn best(&self, host: &HostName, role: Role) -> Option<&FoundSet> {
        let of_role = self.sets.iter().filter(|set| set.manifest.host == *host && set.manifest.role == role);
        let copies = of_role.filter(|set| set.grade > Grade::Bad);
        copies.max_by_key(|set| (set.grade, set.manifest.attempt))
    }

    /// The best sets of a host, in the order in which their files take precedence: master, etcd, node.
    pub fn best_of(&self, host: &HostName) -> Vec<&FoundSet> {
        [Role::Master, Role::Etcd, Role::Node].iter().filter_map(|role| self.best(host, *role)).collect()
    }

    /// The text of a file of a set by its absolute path on the host.
    pub fn text<'s>(&self, set: &'s FoundSet, path: &str) -> Option<Cow<'s, str>> {
        set.texts.get(path.trim_start_matches('/')).map(|bytes| String::from_utf8_lossy(bytes))
    }

    pub fn set(&self, id: &SetId) -> Option<&FoundSet> {
        self.sets.iter().find(|set| set.manifest.id() == *id)
    }
}
