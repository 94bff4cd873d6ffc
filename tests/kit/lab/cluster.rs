//! A lab: its hosts, booted side by side, and the end of all it started.

use std::fmt::Write;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cgroup::Cgroup;
use super::cmd::side_by_side;
use super::disk::{self, Disk};
use super::error::{Error, Result};
use super::folder;
use super::host::Host;
use super::image::Image;
use super::network::Network;
use super::topology::{Role, Topology};

const MAX_HOSTS: usize = 200;
const LOCK: &str = "lock";

/// Everything a lab makes carries its id in its name (cgroups, network namespaces) or lies in its folder (mounts, files):
/// so its end needs no memory of its beginning.
pub struct Lab {
    id: String,
    hosts: Vec<Host>,
    image: Image,
    ends_with_us: bool,
    /// Held while this process lives: other labs sweep what nobody holds.
    _lock: Option<File>,
}

impl Lab {
    /// Boots a lab that ends when it is dropped. Several may run side by side.
    pub fn up(name: &str, topology: &Topology) -> Result<Self> {
        let mut lab = Self::laid_out(&format!("{name}{}", std::process::id()), topology)?;
        lab._lock = Some(claim(&lab.id)?);
        lab.ends_with_us = true;
        lab.boot()?;
        Ok(lab)
    }

    /// A lab by its hosts' names: to boot it, or to go on with one that runs already.
    pub(super) fn laid_out(id: &str, topology: &Topology) -> Result<Self> {
        // A dash would let one lab's names begin with another's.
        if !id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(Error::Refused(format!("`{id}` is no name for a lab: use a-z and 0-9 only")));
        }
        if topology.hosts.len() > MAX_HOSTS {
            return Err(Error::Refused(format!("a lab has at most {MAX_HOSTS} hosts")));
        }
        let network = Network::named(&prefix(id));
        let hosts = (1u8..).zip(&topology.hosts).map(|(number, spec)| {
            let short_name = spec.name.split('.').next().unwrap_or(&spec.name);
            let folder = folder().join(id).join(short_name);
            Host {
                cgroup: Cgroup::named(format!("{}{short_name}", prefix(id))),
                link: network.link(number, short_name),
                disk: topology.disk.map(|spec| Disk::of_host(&folder, spec, topology.is_disk_whole)),
                containers: topology.image.containers.then(|| folder.join("containerd")),
                container: Mutex::new(None),
                image: topology.image.clone(),
                name: spec.name.clone(),
                roles: spec.roles.clone(),
                folder,
            }
        });
        Ok(Self {
            id: id.to_owned(),
            hosts: hosts.collect(),
            image: topology.image.clone(),
            ends_with_us: false,
            _lock: None,
        })
    }

    pub(super) fn boot(&self) -> Result<()> {
        let image = self.image.ensure()?;
        if self.image.containers {
            allow_watches()?;
        }
        Network::named(&prefix(&self.id)).create()?;
        let etc_hosts = self.etc_hosts();
        let start = Instant::now();
        let times = side_by_side(&self.hosts, |host| {
            host.boot(&image, &etc_hosts)?;
            if host.has(Role::BackupServer) {
                host.run(
                    "useradd --create-home --shell /bin/bash cloud-user && chmod 0700 /home/cloud-user",
                )?;
            }
            Ok(start.elapsed())
        })?;
        print_times(&self.hosts, &times);
        Ok(())
    }

    /// A new machine in the place of this one, with its name and address: an empty disk, other keys, another machine-id.
    pub fn reinstall(&self, host: &Host) -> Result<()> {
        host.kill()?;
        disk::unmount_all_below(&host.folder)?;
        let what = || format!("removing {}", host.folder.display());
        fs::remove_dir_all(&host.folder).map_err(Error::io(what()))?;
        host.install(&self.image.ensure()?, &self.etc_hosts())
    }

    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of this name, full or short.
    ///
    /// # Panics
    /// If there is none: the test that asks is wrong.
    pub fn host(&self, name: &str) -> &Host {
        self.find(name).unwrap_or_else(|| panic!("there is no host {name} in this lab"))
    }

    pub(super) fn find(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name || host.short_name() == name)
    }

    pub fn with(&self, role: Role) -> Vec<&Host> {
        self.hosts.iter().filter(|host| host.has(role)).collect()
    }

    /// Where the lab keeps what belongs to none of its hosts, such as its certificate authorities.
    pub fn folder(&self) -> PathBuf {
        folder().join(&self.id)
    }

    fn etc_hosts(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost\n");
        for host in &self.hosts {
            let _ = writeln!(text, "{} {} {}", host.address(), host.name, host.short_name());
        }
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.ends_with_us {
            return;
        }
        let ended = end(&self.id).and_then(|()| self.hosts.iter().try_for_each(Host::reap));
        if let Err(error) = ended {
            eprintln!("lab {}: {error}", self.id);
        }
    }
}

/// Ends the labs of runs that crashed. Those started by hand stay until they are taken down by hand.
pub(super) fn sweep() -> Result<()> {
    let _turn = take_turn()?;
    end_unheld()
}

/// Makes the lab's folder and holds it, before any sweep can see it unheld.
fn claim(id: &str) -> Result<File> {
    let _turn = take_turn()?;
    end_unheld()?;
    let folder = folder().join(id);
    fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
    let lock = File::create(folder.join(LOCK)).map_err(Error::io(format!("locking {}", folder.display())))?;
    try_lock(lock)?.ok_or_else(|| Error::Refused(format!("the lab {id} is running already")))
}

/// One process at a time makes or sweeps labs.
fn take_turn() -> Result<File> {
    fs::create_dir_all(folder()).map_err(Error::io(format!("making {}", folder().display())))?;
    let path = folder().join("turn.lock");
    let file = File::create(&path).map_err(Error::io(format!("opening {}", path.display())))?;
    file.lock().map_err(Error::io(format!("locking {}", path.display())))?;
    Ok(file)
}

fn end_unheld() -> Result<()> {
    for entry in fs::read_dir(folder()).into_iter().flatten().flatten() {
        // Only labs of tests have a lock; one that is gone already was ended by its owner just now.
        let (Ok(id), Ok(lock)) = (entry.file_name().into_string(), File::open(entry.path().join(LOCK)))
        else {
            continue;
        };
        if let Some(_held) = try_lock(lock)? {
            end(&id)?;
        }
    }
    Ok(())
}

/// None if another process holds it.
fn try_lock(file: File) -> Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("locking a lab's folder")(error)),
    }
}

/// Kills, unmounts and removes everything that carries this lab's id.
pub(super) fn end(id: &str) -> Result<()> {
    let groups = Cgroup::of_lab(&prefix(id))?;
    side_by_side(&groups, |group| {
        group.kill()?;
        group.remove()
    })?;
    let folder = folder().join(id);
    disk::unmount_all_below(&folder)?;
    Network::named(&prefix(id)).remove()?;
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

fn prefix(id: &str) -> String {
    format!("lab-{id}-")
}

/// Each kubelet and each systemd has some of the machine's inotify instances, of which root has 128 unless that is raised.
fn allow_watches() -> Result<()> {
    const INSTANCES: u32 = 1024;
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let text = fs::read_to_string(path).map_err(Error::io(format!("reading {path}")))?;
    if text.trim().parse::<u32>().is_ok_and(|instances| instances >= INSTANCES) {
        return Ok(());
    }
    fs::write(path, INSTANCES.to_string()).map_err(Error::io(format!("writing {path}")))
}

fn print_times(hosts: &[Host], times: &[Duration]) {
    for (host, time) in hosts.iter().zip(times) {
        println!("{:<24} {:<12} up after {:.1} s", host.name, host.address(), time.as_secs_f64());
    }
}
