//! Processes of static pods. The kubelet's log files are named by pod and id of a container, and a process names its container's id in its
//! control groups, whatever the runtime.

use std::fs;
use std::path::Path;

use nightshift_core::etcd_config::pod::Pod;
use nightshift_store::read_bounded;
use rustix::process::{Pid, Signal, kill_process};

/// Of a manifest and of a list of control groups, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The kubelet's links, `POD-NODE_NAMESPACE_CONTAINER-ID.log`.
const LOGS: &str = "var/log/containers";

/// A static pod, by what its manifest calls it.
#[derive(Debug, Clone)]
pub struct PodName {
    name: String,
    namespace: String,
}

impl PodName {
    /// `None` if this is not a manifest.
    pub fn read(manifest: &Path) -> Option<Self> {
        let text = read_bounded(manifest, MAX_FILE).ok()?;
        let pod = Pod::parse(&String::from_utf8_lossy(&text)).ok()?;
        let (name, namespace) = pod.name()?;
        Some(Self { name: name.to_owned(), namespace: namespace.to_owned() })
    }

    /// The id of its container that writes to this log file.
    fn container<'f>(&self, file: &'f str) -> Option<&'f str> {
        let (named, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
        let mut parts = named.split('_');
        // The kubelet appends the node's name to that of a static pod.
        let is_its = parts.next()?.strip_prefix(&self.name)?.starts_with('-')
            && parts.next()? == self.namespace
            && id.len() >= 12
            && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_its.then_some(id)
    }
}

/// The processes of the containers of these pods. Those that end meanwhile are left out.
pub fn processes(root: &Path, pods: &[PodName]) -> Vec<Pid> {
    if pods.is_empty() {
        return Vec::new();
    }
    let names = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let logs = names(LOGS);
    let ids: Vec<&str> =
        logs.iter().flat_map(|file| pods.iter().filter_map(|pod| pod.container(file))).collect();
    let is_in_one = |pid: &&String| {
        let groups = read_bounded(&root.join("proc").join(pid).join("cgroup"), MAX_FILE).unwrap_or_default();
        let groups = String::from_utf8_lossy(&groups).into_owned();
        ids.iter().any(|id| groups.contains(id))
    };
    let all = names("proc");
    let pids = all.iter().filter(|name| name.parse::<i32>().is_ok()).filter(is_in_one);
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

pub fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        // One that has just ended is what is wanted.
        let _ended = kill_process(*process, signal);
    }
}
