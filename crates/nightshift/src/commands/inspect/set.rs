//! `inspect` of a set: its manifest, its files, and an overview of its snapshot.

use std::io::Write;
use std::path::Path;

use nightshift_core::etcd_facts::{DataDirectory, EtcdService, Member, RunsAs};
use nightshift_core::manifest::{Item, ItemKind, Manifest};
use nightshift_core::owner::Owner;
use nightshift_core::system::{ControlPlane, System};
use nightshift_core::text::first_of;
use nightshift_core::units::bytes;
use nightshift_store::packing::snapshot_of;
use serde_json::json;

use super::list::shown;
use super::opened::open;
use super::snapshot::Overview;
use super::target::Target;
use crate::args::Choice;
use crate::commands::CommandError;
use crate::out;
use crate::out::pretty;

/// Shows a set, and adds the faults of its snapshot to `faults`.
pub fn show(
    directory: &Path,
    manifest: Box<Manifest>,
    choice: &Choice,
    json: bool,
    out: &mut dyn Write,
    faults: &mut Vec<String>,
) -> Result<(), CommandError> {
    let snapshot = match snapshot_of(&manifest) {
        Some(_) => {
            let target = Target::Set { directory: directory.to_owned(), manifest: manifest.clone() };
            Some(Overview::of(open(target, choice)?)?)
        }
        None => None,
    };
    faults.extend(snapshot.iter().flat_map(Overview::verdict));
    let text = if json {
        let snapshot = snapshot.as_ref().map(Overview::json);
        pretty(&json!({ "manifest": &*manifest, "snapshot": snapshot }))?
    } else {
        let snapshot = snapshot.as_ref().map(|snapshot| format!("\n{}", snapshot.text()));
        summary(&manifest) + &files(&manifest) + &snapshot.unwrap_or_default()
    };
    out.write_all(text.as_bytes()).map_err(CommandError::Output)
}

/// The lines of a manifest without its items.
pub fn summary(manifest: &Manifest) -> String {
    let Manifest { cluster, made_by, made_at, made_with, grade, .. } = manifest;
    let mut lines = vec![
        format!("set           {} of cluster {cluster}: {grade}", manifest.id()),
        format!("created       by {made_by} at {made_at}, with nightshift {}", shown(made_with.as_bytes())),
    ];
    lines.extend(manifest.system.as_ref().map(|system| format!("system        {}", system_of(system))));
    lines.extend(manifest.notes.iter().map(|note| format!("note          {}", shown(note.as_bytes()))));
    lines.extend(manifest.vanished.iter().map(|path| format!("vanished      {}", shown(path.as_bytes()))));
    if let Some(etcd) = &manifest.etcd {
        let role = match (etcd.leader, etcd.learner) {
            (true, _) => "leader",
            (_, true) => "learner",
            _ => "follower",
        };
        lines.push(format!(
            "etcd          member {} {} of cluster {}, {role}, version {}, revision {}",
            shown(etcd.member_name.as_bytes()),
            shown(etcd.member_id.as_bytes()),
            shown(etcd.cluster_id.as_bytes()),
            shown(etcd.version.as_bytes()),
            etcd.revision
        ));
        lines.extend(etcd.service.as_ref().map(|service| format!("service       {}", describe(service))));
        lines.extend((!etcd.members.is_empty()).then(|| format!("members       {}", members(&etcd.members))));
        // Only what its origin host states; what this command finds itself is in the overview of the snapshot.
        lines.push(format!("checked       {made_by} states: {}", shown(etcd.checked.as_bytes())));
    }
    lines.join("\n") + "\n"
}

fn system_of(system: &System) -> String {
    let System { os, architecture, control_plane } = system;
    let control_plane = match control_plane {
        Some(ControlPlane::Services) => ", control plane of systemd services",
        Some(ControlPlane::StaticPods) => ", control plane of OpenShift's static pods",
        Some(ControlPlane::Kubeadm) => ", control plane of kubeadm's static pods",
        None => "",
    };
    format!("{os}, {architecture}{control_plane}")
}

/// How etcd runs, and where its data is.
fn describe(service: &EtcdService) -> String {
    let EtcdService { runs, data, wal } = service;
    let runs = match runs {
        Some(RunsAs::Unit(name)) => name.to_string(),
        Some(RunsAs::StaticPod(manifest)) => format!("static pod {manifest}"),
        None => "unknown how it runs".to_owned(),
    };
    let directory = |what: &str, directory: &DataDirectory| {
        let DataDirectory { path, owner, mode, selinux } = directory;
        let label = selinux.iter().map(|label| format!(" {label}")).collect::<String>();
        format!(", {what} in {path} ({} {mode:04o}{label})", owner_of(owner))
    };
    let data =
        data.as_ref().map_or_else(|| ", data directory unknown".to_owned(), |data| directory("data", data));
    let wal = wal.as_ref().map(|wal| directory("write-ahead log", wal)).unwrap_or_default();
    format!("{runs}{data}{wal}")
}

fn members(members: &[Member]) -> String {
    let member = |member: &Member| {
        let Member { id, name, peer_urls, learner, .. } = member;
        let name = if name.is_empty() { "(never started)" } else { name.as_str() };
        let learner = if *learner { " (learner)" } else { "" };
        format!("{name} {id} {}{learner}", first_of(peer_urls, ","))
    };
    first_of(&members.iter().map(member).collect::<Vec<_>>(), "; ")
}

fn owner_of(owner: &Owner) -> String {
    let name = |name: &Option<String>, number: u32| name.clone().unwrap_or_else(|| number.to_string());
    let text = format!("{}:{}", name(&owner.user, owner.uid), name(&owner.group, owner.gid));
    shown(text.as_bytes()).into_owned()
}

/// The items of a set as a table.
pub fn files(manifest: &Manifest) -> String {
    format!(
        "\n{}\n",
        out::rows_of(&["SIZE", "MODE", "OWNER", "PATH", "FROM"], manifest.items.iter().map(row))
    )
}

fn row(item: &Item) -> Vec<String> {
    let (size, path) = match &item.kind {
        ItemKind::File { size, .. } => (bytes(*size), item.path.clone()),
        ItemKind::Directory => (String::new(), format!("{}/", item.path)),
        ItemKind::Symlink { target } => (String::new(), format!("{} -> {target}", item.path)),
    };
    let text = |text: String| shown(text.as_bytes()).into_owned();
    vec![size, format!("{:04o}", item.mode), owner_of(&item.owner), text(path), text(item.source.clone())]
}
