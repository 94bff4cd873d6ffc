//! `snapshot restore` by etcd's own program, with its hash check.

use std::path::Path;

use nightshift_store::process::Child;

use super::etcd::{Log, NAME};
use super::fault::{Fault, Here as _};
use super::scratch::Scratch;
use super::tools::Tools;

/// The restored member is alone, so its peer URL is never used; it gets another one when it is started.
const PEER_URL: &str = "http://127.0.0.1:1";

/// Restores a snapshot to the data directory `data`, which must not exist.
pub async fn restore(tools: &Tools, scratch: &Scratch, snapshot: &Path, data: &Path) -> Result<(), Fault> {
    let program = &tools.restorer;
    let doing = || format!("cannot run {}", program.path.display());
    let log = Log::new(scratch, "restore.log")?;
    let mut command = tools.launch.logged(&program.path, &log.file).here(doing)?;
    command.args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(data);
    command.args(["--name", NAME, "--initial-cluster", &format!("{NAME}={PEER_URL}")]);
    command.args(["--initial-advertise-peer-urls", PEER_URL]);
    // With a token of its own it can never join the real cluster.
    command.args(["--initial-cluster-token", "nightshift-drill"]);
    let status = Child::start(&mut command).here(doing)?.end().await.here(doing)?;
    if status.success() {
        return Ok(());
    }
    Err(log.fault(&format!("`{} snapshot restore` failed", program.name()), status))
}
