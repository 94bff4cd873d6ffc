//! A machine of the plan, with the files of all its sets: each path once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inventory::Host;
use crate::manifest::{Item, ItemKind, Manifest};
use crate::name::HostName;
use crate::outcome::Grade;
use crate::restore::act::{FileKind, FileSpec};
use crate::restore::evidence::{Evidence, FoundSet};
use crate::restore::finding::Finding;
use crate::restore::pods::{self, StaticPods};
use crate::role::Role;
use crate::set_path::SetId;
use crate::system::System;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub host: HostName,
    /// Where the operator's ssh connects to.
    pub address: String,
    pub port: u16,
    pub roles: Vec<Role>,
    /// It has no daemon, so nightshift is installed there for the restore alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agentless: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
    /// Of a master whose control plane runs as static pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<StaticPods>,
    /// Parents before what is in them.
    pub files: Vec<PlannedFile>,
}

/// A file at its place on the machine, and where its content is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    #[serde(flatten)]
    pub file: FileSpec,
    pub set: SetId,
    /// Its path in the set.
    pub item: String,
}

impl Machine {
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the cluster can run without it: its failure stops no other machine.
    pub fn is_node_only(&self) -> bool {
        self.roles == [Role::Node]
    }

    /// The bytes of all its files.
    pub fn bytes(&self) -> u64 {
        let size = |file: &PlannedFile| match file.file.kind {
            FileKind::File { size, .. } => size,
            FileKind::Directory | FileKind::Symlink { .. } => 0,
        };
        self.files.iter().map(size).fold(0, u64::saturating_add)
    }
}

/// The machines of all hosts of the inventory, and what their sets lack.
pub fn plan(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) -> Vec<Machine> {
    evidence
        .settings
        .inventory
        .hosts()
        .map(|host| {
            for role in host.roles.iter().filter(|role| evidence.best(&host.name, *role).is_none()) {
                findings.push(missing(&host.name, role));
            }
            let sets = evidence.best_of(&host.name);
            let files = merged(sets.iter().map(|set| &set.manifest));
            for set in &sets {
                findings.extend(doubt(set));
                if !set.manifest.vanished.is_empty() {
                    let summary = set.manifest.vanished.summary();
                    findings.push(Finding::missing(format!(
                        "{}: absent that night, present the night before: {summary}",
                        set.manifest.id()
                    )));
                }
            }
            let is_master = host.roles.has(Role::Master);
            Machine {
                pods: if is_master { pods::plan(evidence, &host.name, findings) } else { None },
                system: sets.iter().find_map(|set| set.manifest.system.clone()),
                files,
                ..running(host)
            }
        })
        .collect()
}

/// A host as a plan needs it to log in.
pub fn running(host: &Host) -> Machine {
    Machine {
        host: host.name.clone(),
        address: host.address.clone(),
        port: host.port,
        roles: host.roles.iter().collect(),
        agentless: host.agentless,
        system: None,
        pods: None,
        files: Vec::new(),
    }
}

/// Files of a set that does not count as a copy are not put in place. An etcd set may be so because of its snapshot, which is chosen elsewhere.
fn doubt(set: &FoundSet) -> Option<Finding> {
    let (id, reasons) = (set.manifest.id(), set.manifest.notes.summary());
    match set.grade {
        Grade::Good => None,
        Grade::Degraded => Some(Finding::missing(format!("{id} is degraded: {reasons}"))),
        grade if set.manifest.role == Role::Etcd => Some(Finding::missing(format!(
            "{id} is {grade}: {reasons}; its files are restored, its snapshot is not"
        ))),
        grade => Some(Finding::refused(format!(
            "{id} is {grade}: {reasons}; use another night, or review it and accept it with `nightshift sets accept`"
        ))),
    }
}

/// Masters and members must all be there. A node can be installed again.
fn missing(host: &HostName, role: Role) -> Finding {
    match role {
        Role::Node => Finding::lost(format!("{host}: no node set, so its files are not restored")),
        Role::Master | Role::Etcd => Finding::refused(format!(
            "{host}: no {role} set of this night; use another night or another source"
        )),
    }
}

/// Describes a machine that is not restored: its package's own files stay as they are.
const NOT_RESTORED: [&str; 2] = ["/etc/os-release", "/etc/machine-id"];

/// The files of several sets of one host. The first set that has a path decides.
fn merged<'m>(sets: impl Iterator<Item = &'m Manifest>) -> Vec<PlannedFile> {
    let mut files = BTreeMap::new();
    for manifest in sets {
        for item in &manifest.items {
            // The output of a command, or etcd's data, has no place.
            if let Some(path) = place(manifest, item) {
                files.entry(path).or_insert_with(|| planned(manifest, item));
            }
        }
    }
    files.into_values().collect()
}

/// The absolute path of an item on its host.
fn place(manifest: &Manifest, item: &Item) -> Option<String> {
    let source = item.source.as_str();
    let is_path = source.starts_with('/') && crate::manifest::is_safe_path(source.trim_start_matches('/'));
    let is_data = manifest.role == Role::Etcd && manifest.is_etcd_data(&item.path);
    (is_path && !is_data && !NOT_RESTORED.contains(&source)).then(|| source.to_owned())
}

fn planned(manifest: &Manifest, item: &Item) -> PlannedFile {
    let kind = match &item.kind {
        ItemKind::File { size, sha256 } => FileKind::File { size: *size, sha256: *sha256 },
        ItemKind::Directory => FileKind::Directory,
        ItemKind::Symlink { target } => FileKind::Symlink { target: target.clone() },
    };
    let file = FileSpec {
        path: item.source.clone(),
        kind,
        owner: item.owner.clone(),
        mode: item.mode,
        modified: item.modified,
        selinux: item.selinux.clone(),
        access: item.access.clone(),
    };
    PlannedFile { file, set: manifest.id(), item: item.path.clone() }
}
