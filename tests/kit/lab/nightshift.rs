//! Puts nightshift on the hosts of a lab the way an operator would: package, keys, pins, config, enable.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::Lab;
use super::cmd::{Cmd, side_by_side};
use super::error::{Error, Result};
use super::host::Host;
use super::inside::HostFile;
use super::schedule::{Schedule, clock};
use super::topology::Role;

pub const CONFIG: &str = "/etc/nightshift/nightshift.toml";
const REMOTE_IDENTITY: &str = "/etc/nightshift/ssh/id_backup_server";
const KNOWN_HOSTS: &str = "/etc/nightshift/ssh/known_hosts";
/// Where sshd looks for the keys of the peers' user, as the package lays it.
const PEER_KEYS: &str = "/var/lib/nightshift-peer/.ssh/authorized_keys";
const MANAGED: [Role; 3] = [Role::Master, Role::Etcd, Role::Node];

/// The hosts that get the package and the daemon.
pub fn managed(lab: &Lab) -> Vec<&Host> {
    lab.hosts().iter().filter(|host| MANAGED.iter().any(|&role| host.has(role))).collect()
}

/// Everything but starting it: the package, the config, the keys and the pins.
pub fn set_up(lab: &Lab, deb: &Path, config: &str) -> Result<()> {
    install(lab, deb)?;
    configure(lab, config)?;
    introduce(lab)
}

/// Installs the package; its dependencies are in the image.
pub fn install(lab: &Lab, deb: &Path) -> Result<()> {
    side_by_side(&managed(lab), |host| {
        host.push(deb, "/root/nightshift.deb")?;
        host.run_for("dpkg --install /root/nightshift.deb", Duration::from_secs(120))
    })
    .map(drop)
}

/// Makes each master's identities, authorises them wherever they have to go with the lines that nightshift prints for that,
/// and pins every host's key on every managed host. It reads the config, which must be there.
pub fn introduce(lab: &Lab) -> Result<()> {
    let masters = lab.with(Role::Master);
    side_by_side(&masters, |host| host.run("nightshift keys init"))?;
    let authorize = |words: &str| -> Result<String> {
        side_by_side(&masters, |host| {
            Ok(host.run(&format!("nightshift keys authorize {words}"))?.text() + "\n")
        })
        .map(|lines| lines.concat())
    };
    let (peers, agentless) = (authorize("")?, authorize("--agentless")?);
    let pins = pins(lab)?;
    side_by_side(&lab.hosts().iter().collect::<Vec<_>>(), |host| {
        if MANAGED.iter().any(|&role| host.has(role)) {
            // sshd reads it as the user who logs in.
            host.write_file(&HostFile::new(PEER_KEYS, 0o644, peers.as_str()))?;
            host.write_file(&HostFile::new(KNOWN_HOSTS, 0o644, pins.as_str()))?;
        }
        if host.has(Role::Agentless) {
            host.run("install -d -m 0700 /root/.ssh")?;
            host.write_file(&HostFile::new("/root/.ssh/authorized_keys", 0o600, agentless.as_str()))?;
        }
        if host.has(Role::BackupServer) {
            let ssh = "/home/cloud-user/.ssh";
            let remote = authorize(&format!("--remote {}", host.short_name()))?;
            host.run(&format!("install -d -m 0700 -o cloud-user -g cloud-user {ssh}"))?;
            let keys = HostFile::new(format!("{ssh}/authorized_keys"), 0o600, remote);
            host.write_file(&keys.owned_by("cloud-user:cloud-user"))?;
        }
        Ok(())
    })
    .map(drop)
}

fn pins(lab: &Lab) -> Result<String> {
    let hosts: Vec<&Host> = lab.hosts().iter().collect();
    let lines = side_by_side(&hosts, |host| {
        let keys = host.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub")?.text();
        Ok((keys.lines()).fold(String::new(), |mut lines, key| {
            let _ = writeln!(lines, "{},{} {key}", host.name, host.address());
            lines
        }))
    })?;
    Ok(lines.concat())
}

/// Writes the same config on every managed host.
pub fn configure(lab: &Lab, text: &str) -> Result<()> {
    side_by_side(&managed(lab), |host| host.write_file(&HostFile::new(CONFIG, 0o644, text))).map(drop)
}

pub fn enable(lab: &Lab) -> Result<()> {
    side_by_side(&managed(lab), |host| host.systemctl("enable --now --quiet nightshift.service")).map(drop)
}

/// Takes the edited config on every managed host.
pub fn reload(lab: &Lab) -> Result<()> {
    side_by_side(&managed(lab), |host| host.systemctl("reload nightshift.service")).map(drop)
}

/// The config of this lab's cluster. The stages of a kind share a minute: what each needs puts them in order.
pub fn config_text(lab: &Lab, schedule: &Schedule, recipients: &[String]) -> String {
    let mut text = format!(
        "version = 1\n\n[cluster]\nname = \"lab\"\n\n[hosts]\nmasters = {}\netcd = {}\nnodes = {}\n\n\
         [night]\nopens = \"{}\"\ncloses = \"{}\"\ntime-zone = \"UTC\"\n\
         # A container's clock is its machine's: nobody in it keeps it right.\ntrust-clock = true\n\n\
         [archive]\nrecipients = {recipients:?}\n\n[vault]\nmin-free = \"16MiB\"\n\n\
         [etcd]\n# Three members that stream at once are no burden here.\nslot = \"0s\"\n",
        names(lab, &[Role::Master]),
        names(lab, &[Role::Etcd]),
        names(lab, &[Role::Node, Role::Agentless]),
        clock(schedule.opens),
        clock(schedule.closes),
    );
    for host in lab.with(Role::Agentless) {
        let _ = write!(text, "\n[host.\"{}\"]\nagentless = true\nuser = \"root\"\n", host.name);
    }
    let at = |minute: u16| format!("{} {} * * *", minute % 60, minute / 60);
    for stage in ["snapshot-etcd", "collect-node", "collect-master"] {
        let _ = write!(text, "\n[stage.{stage}]\nat = \"{}\"\n", at(schedule.collects));
    }
    let until = clock(schedule.until);
    for stage in ["pull-etcd", "pull-nodes", "mirror-masters"] {
        let _ = write!(text, "\n[stage.{stage}]\nat = \"{}\"\nuntil = \"{until}\"\n", at(schedule.collects));
    }
    for stage in ["pack-archive", "ship-archive", "drill", "prune"] {
        let _ = write!(text, "\n[stage.{stage}]\nat = \"{}\"\njitter = \"0s\"\n", at(schedule.packs));
    }
    for host in lab.with(Role::BackupServer) {
        let _ = write!(
            text,
            "\n[[remote]]\nname = \"{}\"\nurl = \"sftp://cloud-user@{}/home/cloud-user\"\nidentity = \"{REMOTE_IDENTITY}\"\n",
            host.short_name(),
            host.name,
        );
    }
    text
}

fn names(lab: &Lab, roles: &[Role]) -> String {
    let hosts = lab.hosts().iter().filter(|host| roles.iter().any(|&role| host.has(role)));
    format!("{:?}", hosts.map(|host| &host.name).collect::<Vec<_>>())
}

/// An age key pair whose private half stays beside the lab, on none of its hosts.
pub struct AgeIdentity {
    pub path: PathBuf,
    pub recipient: String,
}

impl AgeIdentity {
    pub fn create(lab: &Lab) -> Result<Self> {
        let path = lab.folder().join("age-identity.txt");
        if path.exists() {
            fs::remove_file(&path).map_err(Error::io(format!("removing {}", path.display())))?;
        }
        Cmd::new("age-keygen").arg("-o").arg(&path).run()?;
        let recipient = Cmd::new("age-keygen").arg("-y").arg(&path).run()?.text();
        Ok(Self { path, recipient })
    }
}
