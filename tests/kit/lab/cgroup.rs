//! The cgroup of one host. Each host needs its own before it boots: without it the payloads share one, and their systemds
//! end each other's services.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cmd::poll;
use super::error::{Error, Result};

const ROOT: &str = "/sys/fs/cgroup";

pub struct Cgroup {
    name: String,
}

impl Cgroup {
    pub fn named(name: String) -> Self {
        Self { name }
    }

    /// All cgroups of a lab, found by their names.
    pub fn of_lab(prefix: &str) -> Result<Vec<Self>> {
        let Some(root) = v2_root() else {
            return Ok(Vec::new());
        };
        let entries = fs::read_dir(&root).map_err(Error::io(format!("listing {}", root.display())))?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .map(Self::named)
            .collect())
    }

    /// Makes it in every hierarchy that systemd looks at, and gives the files to write one's pid to.
    pub fn create(&self) -> Result<Vec<PathBuf>> {
        (self.folders().into_iter())
            .map(|folder| {
                fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
                Ok(folder.join("cgroup.procs"))
            })
            .collect()
    }

    /// The host's pid 1 as this machine numbers it, once it is systemd: before that its root is not yet the host's.
    pub fn leader(&self) -> Option<u32> {
        self.pids().into_iter().find(|&pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            comm.trim_end() == "systemd" && is_first_of_its_namespace(pid)
        })
    }

    pub fn is_empty(&self) -> bool {
        self.pids().is_empty()
    }

    /// SIGKILLs everything in it in one instant.
    pub fn kill(&self) -> Result<()> {
        if let Some(folder) = self.v2_folder().filter(|folder| folder.exists()) {
            fs::write(folder.join("cgroup.kill"), "1")
                .map_err(Error::io(format!("killing what runs in {}", folder.display())))?;
        }
        self.wait_empty(Duration::from_secs(20))
    }

    pub fn wait_empty(&self, within: Duration) -> Result<()> {
        poll(&format!("the end of {}", self.name), within, || {
            let pids = self.pids();
            if pids.is_empty() { Ok(()) } else { Err(format!("pids {pids:?}")) }
        })
    }

    /// Removes it with all that the host's systemd made below it.
    pub fn remove(&self) -> Result<()> {
        for folder in self.folders().into_iter().chain([self.limited()]) {
            // A process that has just died may hold its folder for some milliseconds.
            poll(&format!("removal of {}", folder.display()), Duration::from_secs(5), || {
                remove_tree(&folder).map_err(|error| error.to_string())
            })?;
        }
        Ok(())
    }

    /// The pids, as this machine numbers them, of what runs in units whose names begin so.
    pub fn pids_of_units(&self, prefix: &str) -> Vec<u32> {
        let mut pids = Vec::new();
        if let Some(folder) = self.v2_folder() {
            units(&folder, prefix).iter().for_each(|unit| collect_pids(unit, &mut pids));
        }
        pids
    }

    /// Gives processes, and all that they start, so much memory and no more. A container's systemd cannot where cgroup v1
    /// has the memory: it has no such controller of its own.
    pub fn limit_memory_of(&self, pids: &[u32], bytes: u64) -> Result<()> {
        let folder = self.limited();
        if !folder.with_file_name("cgroup.procs").exists() {
            return Ok(());
        }
        let write = |name: &str, value: &dyn ToString| {
            let path = folder.join(name);
            fs::write(&path, value.to_string()).map_err(Error::io(format!("writing {}", path.display())))
        };
        fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
        write("memory.limit_in_bytes", &bytes)?;
        pids.iter().try_for_each(|pid| write("cgroup.procs", pid))
    }

    fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        if let Some(folder) = self.v2_folder() {
            collect_pids(&folder, &mut pids);
        }
        pids
    }

    fn v2_folder(&self) -> Option<PathBuf> {
        Some(v2_root()?.join(&self.name))
    }

    fn limited(&self) -> PathBuf {
        Path::new(ROOT).join("memory").join(format!("{}-limited", self.name))
    }

    fn folders(&self) -> Vec<PathBuf> {
        let named = Path::new(ROOT).join("systemd");
        let mut roots = Vec::from_iter(v2_root());
        if named.exists() {
            roots.push(named);
        }
        roots.into_iter().map(|root| root.join(&self.name)).collect()
    }
}

/// Where cgroup v2 is mounted: at the top, or beside v1 in the hybrid layout.
pub fn v2_root() -> Option<PathBuf> {
    [ROOT.into(), Path::new(ROOT).join("unified")]
        .into_iter()
        .find(|root: &PathBuf| root.join("cgroup.controllers").exists())
}

fn is_first_of_its_namespace(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    (status.lines())
        .find_map(|line| line.strip_prefix("NSpid:"))
        .is_some_and(|pids| pids.split_whitespace().skip(1).eq(["1"]))
}

/// Folders vanish while systemd works: what can't be read holds nobody.
fn collect_pids(folder: &Path, pids: &mut Vec<u32>) {
    let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_pids(&entry.path(), pids);
        }
    }
}

/// The folders of units, templates' instances among them, wherever their slices lie.
fn units(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let below = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .flat_map(|entry| {
            let is_unit = entry.file_name().to_string_lossy().starts_with(prefix);
            if is_unit { vec![entry.path()] } else { units(&entry.path(), prefix) }
        })
        .collect()
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    remove_tree(&entry.path())?;
                }
            }
        }
    }
    fs::remove_dir(folder)
}
