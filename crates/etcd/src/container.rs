//! The container that the member runs in, and etcd's programs in its root file system.
//!
//! The daemon may not trace processes, so it cannot follow `/proc/PID/root`. It finds the container by what only root writes: the
//! kubelet's links to logs, and the runtimes' state. No pod can write there, so the etcd of another pod on this host is never
//! taken for the member's.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nightshift_core::etcd_config::pod::Pod;
use nightshift_store::safe_open::{Missing, open_directory, open_file};
use serde::Deserialize;

use crate::small_file::read_small;
use crate::trial::tools::ProgramName;

/// The kubelet's links, `<pod>_<namespace>_<container>-<id>.log`, whatever the runtime.
const LOGS: &str = "var/log/containers";
/// The endings of a pod's manifest.
const MANIFESTS: [&str; 3] = ["yaml", "yml", "json"];
/// Where containerd mounts the root file systems of running containers; the last is RKE2's own.
const CONTAINERD: [&str; 3] = [
    "run/containerd/io.containerd.runtime.v2.task",
    "run/containerd/io.containerd.runtime.v1.linux",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
];
/// The manifest of etcd's static pod on RKE2, whose etcd is configured elsewhere.
const RKE2_MANIFEST: &str = "var/lib/rancher/rke2/agent/pod-manifests/etcd.yaml";
/// docker's storage drivers, and where each mounts the root file system of a running container.
const DOCKER: [(&str, &str, &str); 3] = [
    ("overlay2", "overlay2", "merged"),
    ("overlay", "overlay", "merged"),
    ("devicemapper", "devicemapper/mnt", "rootfs"),
];
/// The name that OpenShift's installer gives to etcd's container where a unit starts it.
const DOCKER_NAME: &str = "/etcd_container";
const PROGRAM_DIRECTORIES: [&str; 3] = ["usr/local/bin", "usr/bin", "opt/etcd"];
/// The maximum size of a program in bytes; those of etcd have 10 to 30 MB.
pub const MAX_PROGRAM: u64 = 256 << 20;
/// The maximum size of a runtime's state in bytes, and how many containers of docker's are read.
const MAX_STATE: u64 = 16 << 20;
const MAX_CONTAINERS: usize = 2_000;
const ELF: [u8; 4] = *b"\x7fELF";

#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("no container of etcd is running on this host, as far as containerd, cri-o and docker show")]
    NoContainer,
    #[error("the root file system of etcd's container {container} is not mounted where this host can see it")]
    NotMounted { container: String },
    #[error("{} has no {what} in {}", .rootfs.display(), PROGRAM_DIRECTORIES.join(", "))]
    NoProgram { rootfs: PathBuf, what: &'static str },
    #[error("cannot use {}: {reason}", .path.display())]
    Open { path: PathBuf, reason: Missing },
    #[error("{} is not a program of a usual size", .path.display())]
    NotAProgram { path: PathBuf },
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
}

/// A program in a container, open for reading.
#[derive(Debug)]
pub struct Program {
    pub name: ProgramName,
    pub file: File,
    pub path: PathBuf,
}

/// The programs that restore and run a copy of the member.
#[derive(Debug)]
pub struct Programs {
    /// The id of the container.
    pub container: String,
    pub etcd: Program,
    /// etcdutl if it exists, else etcdctl.
    pub restorer: Program,
}

/// Opens the programs of the member's container. `root` is `/`; `files` are the member's, with the manifest of its pod if it has
/// one. Blocks.
pub fn programs(root: &Path, files: &[PathBuf]) -> Result<Programs, ContainerError> {
    let mut not_mounted = None;
    for container in candidates(root, files) {
        let Some(rootfs) = rootfs(root, &container) else {
            not_mounted = not_mounted.or(Some(container));
            continue;
        };
        let etcd = program(&rootfs, ProgramName::Etcd)?;
        let etcd = etcd.ok_or_else(|| ContainerError::NoProgram { rootfs: rootfs.clone(), what: "etcd" })?;
        let restorer = match program(&rootfs, ProgramName::Etcdutl)? {
            Some(etcdutl) => Some(etcdutl),
            None => program(&rootfs, ProgramName::Etcdctl)?,
        };
        let what = "etcdutl or etcdctl";
        let restorer = restorer.ok_or(ContainerError::NoProgram { rootfs, what })?;
        return Ok(Programs { container, etcd, restorer });
    }
    Err(not_mounted.map_or(ContainerError::NoContainer, |container| ContainerError::NotMounted { container }))
}

/// The ids of the member's containers, the newest first: a container that ended may still have its log.
fn candidates(root: &Path, files: &[PathBuf]) -> Vec<String> {
    let is_manifest = |file: &&PathBuf| {
        file.extension().is_some_and(|extension| MANIFESTS.iter().any(|it| extension == *it))
    };
    let manifests = files.iter().filter(is_manifest);
    let mut logs: Vec<(SystemTime, String)> =
        manifests.chain([&root.join(RKE2_MANIFEST)]).flat_map(|manifest| logged(root, manifest)).collect();
    logs.sort_unstable_by(|a, b| b.cmp(a));
    logs.into_iter().map(|(_, id)| id).chain(docker_container(root)).collect()
}

/// The containers of the static pod of a manifest, each with the time of its link.
fn logged(root: &Path, manifest: &Path) -> Vec<(SystemTime, String)> {
    let text = read_small(manifest).unwrap_or_default();
    let Ok(pod) = Pod::parse(&String::from_utf8_lossy(&text)) else { return Vec::new() };
    let (Some(container), Some((name, namespace))) = (pod.etcd(), pod.name()) else { return Vec::new() };
    let entries = fs::read_dir(root.join(LOGS)).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let (named, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
            let mut parts = named.split('_');
            // The kubelet appends the node's name to that of a static pod.
            let is_of_pod = parts.next()?.strip_prefix(name)?.starts_with('-');
            let is_its = is_of_pod && parts.eq([namespace, container.name()]);
            let modified = entry.metadata().and_then(|link| link.modified()).ok()?;
            (is_its && is_id(id)).then(|| (modified, id.to_owned()))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    state: DockerState,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerState {
    running: bool,
}

/// etcd's container where docker runs it by itself.
fn docker_container(root: &Path) -> Option<String> {
    let entries = fs::read_dir(root.join("var/lib/docker/containers")).ok()?.flatten().take(MAX_CONTAINERS);
    let mut containers = entries.filter_map(|entry| {
        let state = read_state(&entry.path().join("config.v2.json"))?;
        serde_json::from_slice::<DockerContainer>(&state).ok()
    });
    let is_etcd =
        |found: &DockerContainer| found.name == DOCKER_NAME && found.state.running && is_id(&found.id);
    containers.find(is_etcd).map(|found| found.id)
}

#[derive(Deserialize)]
struct CrioContainer {
    id: String,
    layer: String,
}

/// The mounted root file system of a running container. Its links are the host's own: a data disk is often mounted elsewhere.
fn rootfs(root: &Path, id: &str) -> Option<PathBuf> {
    let containerd = CONTAINERD.iter().map(|runtime| root.join(format!("{runtime}/k8s.io/{id}/rootfs")));
    let docker = DOCKER.iter().filter_map(|(driver, mounts, directory)| {
        let data = root.join("var/lib/docker");
        let mount = read_state(&data.join(format!("image/{driver}/layerdb/mounts/{id}/mount-id")))?;
        let mount = String::from_utf8(mount).ok().filter(|mount| is_id(mount.trim()))?;
        Some(data.join(mounts).join(mount.trim()).join(directory))
    });
    let crio = || {
        let storage = root.join("var/lib/containers/storage");
        let state = read_state(&storage.join("overlay-containers/containers.json"))?;
        let containers: Vec<CrioContainer> = serde_json::from_slice(&state).ok()?;
        let layer = containers.into_iter().find(|found| found.id == id)?.layer;
        is_id(&layer).then(|| storage.join("overlay").join(layer).join("merged"))
    };
    let mut found = containerd.chain(docker).chain(crio());
    // Where nothing is mounted, the directory is missing or empty.
    found.find_map(|path| {
        let path = path.canonicalize().ok()?;
        fs::read_dir(&path).ok()?.next()?.ok().map(|_| path)
    })
}

/// The first of the directories' program of this name. No link in the root file system is followed: the container's own user may
/// have planted one.
fn program(rootfs: &Path, name: ProgramName) -> Result<Option<Program>, ContainerError> {
    for directory in PROGRAM_DIRECTORIES {
        let directory = rootfs.join(directory);
        let path = directory.join(name.as_str());
        let opened = open_directory(&directory)
            .and_then(|parent| open_file(&parent, OsStr::new(name.as_str()), &path));
        match opened {
            Ok(file) => return require_program(file, name, path).map(Some),
            Err(Missing::Absent | Missing::ThroughLink(_)) => {}
            Err(reason) => return Err(ContainerError::Open { path, reason }),
        }
    }
    Ok(None)
}

fn require_program(mut file: File, name: ProgramName, path: PathBuf) -> Result<Program, ContainerError> {
    let unreadable = |source| ContainerError::Read { path: path.clone(), source };
    let metadata = file.metadata().map_err(unreadable)?;
    let mut magic = [0; ELF.len()];
    if metadata.is_file() && metadata.len() <= MAX_PROGRAM {
        match file.read_exact(&mut magic).and_then(|()| file.rewind()) {
            Err(source) if source.kind() != io::ErrorKind::UnexpectedEof => return Err(unreadable(source)),
            _ => {}
        }
    }
    if magic == ELF { Ok(Program { name, file, path }) } else { Err(ContainerError::NotAProgram { path }) }
}

/// An id of a container, a layer or a mount: it becomes a part of a path.
fn is_id(text: &str) -> bool {
    (12..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn read_state(path: &Path) -> Option<Vec<u8>> {
    nightshift_store::read_bounded(path, MAX_STATE).ok()
}

#[cfg(test)]
mod tests;
