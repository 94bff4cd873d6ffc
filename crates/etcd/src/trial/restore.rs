//! `snapshot restore` by etcd's own program, with its hash check: for a drill, and for the members of a rebuilt cluster.

use std::path::Path;

use nightshift_store::process::Child;

use super::etcd::{Log, NAME};
use super::fault::{Fault, Here as _};
use super::scratch::Scratch;
use super::tools::Tools;

/// The member that gets the data.
#[derive(Debug, Clone, Copy)]
pub struct NewMember<'a> {
    pub name: &'a str,
    /// The same text for all members of the cluster.
    pub initial_cluster: &'a str,
    pub peer_urls: &'a str,
    /// A token that was never used, so that it can never join another cluster.
    pub token: &'a str,
    /// The revision is raised by so much, and everything before it counts as compacted: a client that watches from before gets an
    /// error, and reads everything again.
    pub bump: Option<i64>,
}

impl NewMember<'static> {
    /// The only member of a scratch etcd. Its peer URL is never used; it gets another one when it is started.
    pub const fn alone() -> Self {
        Self {
            name: NAME,
            initial_cluster: "drill=http://127.0.0.1:1",
            peer_urls: "http://127.0.0.1:1",
            token: "nightshift-drill",
            bump: None,
        }
    }
}

/// Restores a snapshot to the data directory `data`, which must not exist.
pub async fn restore(
    tools: &Tools,
    scratch: &Scratch,
    snapshot: &Path,
    data: &Path,
    member: NewMember<'_>,
) -> Result<(), Fault> {
    let program = &tools.restorer;
    let doing = || format!("cannot run {}", program.path.display());
    let log = Log::new(scratch, "restore.log")?;
    let mut command = tools.launch.logged(&program.path, &log.file).here(doing)?;
    let NewMember { name, initial_cluster, peer_urls, token, bump } = member;
    command.args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(data);
    command.args(["--name", name, "--initial-cluster", initial_cluster]);
    command.args(["--initial-advertise-peer-urls", peer_urls, "--initial-cluster-token", token]);
    if let Some(bump) = bump {
        command.args(["--bump-revision", &bump.to_string(), "--mark-compacted"]);
    }
    let status = Child::start(&mut command).here(doing)?.end().await.here(doing)?;
    if status.success() {
        return Ok(());
    }
    Err(log.fault(&format!("`{} snapshot restore` failed", program.name()), status))
}
