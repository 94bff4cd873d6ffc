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
        for folder in self.folders() {
            // A process that has just died may hold its folder for some milliseconds.
            poll(&format!("removal of {}", folder.display()), Duration::from_secs(5), || {
                remove_tree(&folder).map_err(|error| error.to_string())
            })?;
        }
        Ok(())
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
