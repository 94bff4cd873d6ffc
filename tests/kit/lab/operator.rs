//! The operator's machine in a restore: the package, etcd's programs, and a login to each host.

use std::path::Path;
use std::time::Duration;

use super::cluster::Lab;
use super::error::{Error, Result};
use super::etcd::EtcdCluster;
use super::host::Host;
use super::inside::HostFile;
use super::topology::{Role, Topology};
use super::{nightshift, openshift};
use crate::etcd::Release;

/// The name of the host.
pub const OPERATOR: &str = "operator";
/// With these etcd's data is made: a release that can raise the revision.
pub const ETCD_TOOLS: &str = "/root/etcd";
const RELEASE: &str = "3.5";

/// The hosts of a cluster of services that is lost and rebuilt, a backup server, and the operator's machine.
pub fn topology() -> Topology {
    Topology::new()
        .with(3, Role::Master)
        .with(3, Role::Etcd)
        .with(2, Role::Node)
        .with(1, Role::BackupServer)
        .host(OPERATOR, &[])
}

/// Machines that were installed again, with other keys and an empty cluster that runs on them, and the operator's machine.
pub fn new_machines(
    name: &str,
    topology: &Topology,
    control_plane: fn(&Lab) -> Result<()>,
    deb: &Path,
) -> Result<Lab> {
    let lab = Lab::up(name, topology)?;
    openshift::lay(&lab)?;
    EtcdCluster::found(&lab)?;
    control_plane(&lab)?;
    nightshift::install(&lab, deb)?;
    prepare(&lab, deb, &Release::named(RELEASE).map_err(Error::Refused)?)?;
    Ok(lab)
}

/// Installs the package and these programs of etcd, and lets the operator in everywhere.
pub fn prepare(lab: &Lab, deb: &Path, tools: &Release) -> Result<()> {
    let operator = lab.host(OPERATOR);
    operator.push(deb, "/root/nightshift.deb")?;
    operator.run_for("dpkg --install /root/nightshift.deb", Duration::from_secs(120))?;
    for program in ["etcd", "etcdutl", "etcdctl"] {
        operator.push(&tools.program(program), &format!("{ETCD_TOOLS}/{program}"))?;
    }
    operator.run(&format!("chmod 0755 {ETCD_TOOLS}/*"))?;
    login(lab, operator)
}

/// Creates a key on this host, authorizes it on all others, and pins all host keys.
pub fn login(lab: &Lab, operator: &Host) -> Result<()> {
    operator.run("mkdir -p -m 0700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")?;
    authorize(lab, operator)
}

/// Every machine lets the operator in, and the operator knows the keys of each. Machines may have been installed again.
pub fn authorize(lab: &Lab, operator: &Host) -> Result<()> {
    let key = operator.read_file("/root/.ssh/id_ed25519.pub")?;
    let mut pins = String::new();
    for host in lab.hosts() {
        let backup = host.has(Role::BackupServer);
        let (of, home) = if backup { ("cloud-user", "/home/cloud-user") } else { ("root", "/root") };
        host.write_file(&HostFile::new("/tmp/key", 0o600, key.clone()))?;
        host.run(&format!(
            "install -d -m 0700 -o {of} -g {of} {home}/.ssh && cat /tmp/key >> {home}/.ssh/authorized_keys && \
             chown {of}:{of} {home}/.ssh/authorized_keys && chmod 0600 {home}/.ssh/authorized_keys"
        ))?;
        let public = host.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")?.text();
        pins += &format!("{},{} {public}\n", host.name, host.address());
    }
    operator.write_file(&HostFile::new("/root/.ssh/known_hosts", 0o600, pins))
}
