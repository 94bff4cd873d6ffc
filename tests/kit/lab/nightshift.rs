//! Puts nightshift on the hosts of a lab the way an operator would: package, keys, pins, config, enable.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::Lab;
use super::cmd::{Cmd, side_by_side};
use super::error::{Error, Result};
use super::host::Host;
use super::inside::{HostFile, quote};
use super::topology::Role;

pub const CONFIG: &str = "/etc/nightshift/nightshift.toml";
const IDENTITY: &str = "/etc/nightshift/ssh/id_ed25519";
const REMOTE_IDENTITY: &str = "/etc/nightshift/ssh/id_backup_server";
const KNOWN_HOSTS: &str = "/etc/nightshift/ssh/known_hosts";
const MANAGED: [Role; 3] = [Role::Master, Role::Etcd, Role::Node];

/// When the lab's night opens and closes, in minutes after midnight UTC, and how long pulls wait for peers.
pub struct Schedule {
    pub opens: u16,
    pub closes: u16,
    pub pulls_until: u16,
}

impl Schedule {
    /// A night that opens now or soon, waits twenty minutes for its peers and closes after three hours.
    pub fn opening_at(minute_of_day: u16) -> Self {
        Self { opens: minute_of_day, closes: minute_of_day + 180, pulls_until: minute_of_day + 20 }
    }
}

/// The hosts that get the package and the daemon.
pub fn managed(lab: &Lab) -> Vec<&Host> {
    lab.hosts().iter().filter(|host| MANAGED.iter().any(|&role| host.has(role))).collect()
}

/// Installs the package; its dependencies are in the image.
pub fn install(lab: &Lab, deb: &Path) -> Result<()> {
    side_by_side(&managed(lab), |host| {
        host.push(deb, "/root/nightshift.deb")?;
        host.run_for("dpkg --install /root/nightshift.deb", Duration::from_secs(120))
    })
    .map(drop)
}

/// Makes each master's identities, authorises them wherever they have to go, and pins every host's key on every managed host.
/// `peer_keys` is where sshd looks for the keys of `nightshift-peer`.
pub fn introduce(lab: &Lab, peer_keys: &str) -> Result<()> {
    let masters = lab.with(Role::Master);
    let peer_identities = side_by_side(&masters, |host| make_identity(host, IDENTITY))?;
    let remote_identities = side_by_side(&masters, |host| make_identity(host, REMOTE_IDENTITY))?;
    let from = masters.iter().map(|host| host.address().to_string()).collect::<Vec<_>>().join(",");
    let authorize = |restriction: &str, keys: &[String]| -> String {
        keys.iter().map(|key| format!("from=\"{from}\",restrict{restriction} {key}\n")).collect()
    };
    let peers = authorize(",command=\"internal-sftp -R -l INFO -f AUTHPRIV\"", &peer_identities);
    let agentless = authorize(",command=\"internal-sftp -R\"", &peer_identities);
    let remote = authorize("", &remote_identities);
    let pins = pins(lab)?;
    side_by_side(&lab.hosts().iter().collect::<Vec<_>>(), |host| {
        if MANAGED.iter().any(|&role| host.has(role)) {
            // sshd reads it as the user who logs in.
            host.write_file(&HostFile::new(peer_keys, 0o644, peers.as_str()))?;
            host.write_file(&HostFile::new(KNOWN_HOSTS, 0o644, pins.as_str()))?;
            host.run("chmod 0700 /etc/nightshift/ssh")?;
        }
        if host.has(Role::Agentless) {
            host.run("install -d -m 0700 /root/.ssh")?;
            host.write_file(&HostFile::new("/root/.ssh/authorized_keys", 0o600, agentless.as_str()))?;
        }
        if host.has(Role::BackupServer) {
            let ssh = "/home/cloud-user/.ssh";
            host.run(&format!("install -d -m 0700 -o cloud-user -g cloud-user {ssh}"))?;
            let keys = HostFile::new(format!("{ssh}/authorized_keys"), 0o600, remote.as_str());
            host.write_file(&keys.owned_by("cloud-user:cloud-user"))?;
        }
        Ok(())
    })
    .map(drop)
}

/// Gives the public half.
fn make_identity(host: &Host, path: &str) -> Result<String> {
    let comment = format!("nightshift@{}", host.name);
    host.run(&format!(
        "install -d -m 0755 /etc/nightshift && install -d -m 0700 /etc/nightshift/ssh && rm -f {path} {path}.pub && \
         ssh-keygen -q -t ed25519 -N '' -C {} -f {path}",
        quote(&comment)
    ))?;
    let public = host.read_file(&format!("{path}.pub"))?;
    Ok(String::from_utf8_lossy(&public).trim_end().to_owned())
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

/// The config of this lab's cluster. All stages share the night's first minute: what each needs puts them in order.
pub fn config_text(lab: &Lab, schedule: &Schedule, recipients: &[String]) -> String {
    let mut text = format!(
        "version = 1\n\n[cluster]\nname = \"lab\"\n\n[hosts]\nmasters = {}\netcd = {}\nnodes = {}\n\n\
         [night]\nopens = \"{}\"\ncloses = \"{}\"\ntime-zone = \"UTC\"\n\n[archive]\nrecipients = {recipients:?}\n",
        names(lab, &[Role::Master]),
        names(lab, &[Role::Etcd]),
        names(lab, &[Role::Node, Role::Agentless]),
        clock(schedule.opens),
        clock(schedule.closes),
    );
    for host in lab.with(Role::Agentless) {
        let _ = write!(text, "\n[host.\"{}\"]\nagentless = true\nuser = \"root\"\n", host.name);
    }
    let at = format!("{} {} * * *", schedule.opens % 60, schedule.opens / 60 % 24);
    for stage in ["snapshot-etcd", "collect-node", "collect-master", "pack-archive", "ship-archive", "prune"]
    {
        let _ = write!(text, "\n[stage.{stage}]\nat = \"{at}\"\n");
    }
    let until = clock(schedule.pulls_until);
    for stage in ["pull-etcd", "pull-nodes", "mirror-masters"] {
        let _ = write!(text, "\n[stage.{stage}]\nat = \"{at}\"\nuntil = \"{until}\"\n");
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

fn clock(minute_of_day: u16) -> String {
    format!("{:02}:{:02}", minute_of_day / 60 % 24, minute_of_day % 60)
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
