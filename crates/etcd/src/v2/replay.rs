//! A v2 backup is tested by replaying it: a scratch etcd is started on a copy of it, and must accept a write.

use std::path::Path;
use std::time::Duration;

use nightshift_store::{offload, tree};
use tokio::time::{Instant, sleep};

use super::client::{V2Client, V2Error};
use crate::trial::child::Launch;
use crate::trial::etcd::{CLIENT_SOCKET, Etcd, Listen, NAME, Origin, Start};
use crate::trial::fault::{Fault, Here as _};
use crate::trial::scratch::{REPLAY, Scratch};

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The timeout of one request: a list of all keys takes as long as there are many.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Replays the v2 store of `data_dir` in a scratch directory below `scratch`, and returns the number of its keys. A data
/// directory without `member/` is the copy's fault.
pub async fn replay(etcd: &Path, data_dir: &Path, scratch: &Path, within: Duration) -> Result<u64, Fault> {
    let source = data_dir.join("member");
    if !source.is_dir() {
        return Err(Fault::Copy(format!("{} is missing", source.display())));
    }
    let root = scratch.to_owned();
    let scratch = offload::run(move || {
        let scratch = Scratch::create(&root, REPLAY).here(|| "no scratch directory".to_owned())?;
        let data = scratch.path("data");
        std::fs::create_dir(&data)
            .here(|| format!("cannot create {}", data.display()))
            .and_then(|()| {
                tree::copy(&source, &data.join("member"), &mut |_| Ok(()))
                    .here(|| "cannot copy the backup".to_owned())
            })
            .map(|()| scratch)
    })
    .await?;
    let keys = count(etcd, &scratch, within).await;
    offload::run(move || drop(scratch)).await;
    keys
}

async fn count(etcd: &Path, scratch: &Scratch, within: Duration) -> Result<u64, Fault> {
    let until = Instant::now() + within;
    let data = scratch.path("data");
    let start = Start { name: NAME, data: &data, db_size: 0, origin: Origin::ForceNewCluster };
    // The unit of the daemon kills what a killed daemon leaves.
    let mut etcd = Etcd::start(Launch::Direct, etcd, scratch, start, &Listen::Sockets)?;
    let v2 = V2Client::on_socket(&scratch.path(CLIENT_SOCKET), REQUEST_TIMEOUT);
    loop {
        if let Some(fault) = etcd.ended() {
            return Err(fault);
        }
        // It accepts a write only once it is its own leader.
        match v2.try_canary("replayed").await {
            Ok(()) => return v2.count_keys().await.map_err(V2Error::into_fault),
            Err(error) if Instant::now() >= until => return Err(error.into_fault()),
            Err(_) => sleep(POLL_INTERVAL).await,
        }
    }
}
