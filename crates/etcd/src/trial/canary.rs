//! A key of our own, written, read and deleted: the one thing that health checks do not show.

use jiff::Timestamp;
use nightshift_core::proof::Comparison;

use super::alarms;
use super::fault::Fault;
use super::server::{Server, refused};
use crate::trouble::ClientError;

/// Writes, reads back and deletes a key that nobody else has. `index` is the last entry of the log that the copy's
/// database took in, where that is known. What had to be done for the write is added to `compared`.
pub async fn write(
    server: &mut Server,
    index: Option<u64>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let number = format!("{:x}-{:x}", Timestamp::now().as_nanosecond(), std::process::id());
    let key = format!("/nightshift/canary/{number}").into_bytes();
    let mut put = server.client.put(&key, number.as_bytes()).await;
    if put.as_ref().is_err_and(is_full) {
        compared.extend(alarms::disarm(server).await?);
        put = server.client.put(&key, number.as_bytes()).await;
    }
    if let Err(error) = put {
        return Err(not_written(server, error, index).await);
    }
    let client = server.client.clone();
    match client.get(&key).await {
        Ok(Some(read)) if read == number.as_bytes() => {}
        Ok(Some(_)) => return Err(Fault::Copy("it gives back another value than was written".to_owned())),
        Ok(None) => return Err(Fault::Copy("it took a write and does not have it".to_owned())),
        Err(error) => return Err(refused(server, &error)),
    }
    match client.delete(&key).await {
        Ok(1) => {}
        Ok(count) => return Err(Fault::Copy(format!("it deleted {count} keys where one was written"))),
        Err(error) => return Err(refused(server, &error)),
    }
    match client.get(&key).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(Fault::Copy("it still has the key that was deleted".to_owned())),
        Err(error) => Err(refused(server, &error)),
    }
}

/// Whether an alarm for space, which a copy of a full etcd brings along, is all that refuses the write.
fn is_full(error: &ClientError) -> bool {
    matches!(error, ClientError::Answered { message, .. } if message.contains("database space exceeded"))
}

/// A write that times out is either one that raft took and the store dropped, for the database is ahead of its log
/// (docs/facts/etcd.md#v2-backup: it takes no entry twice), or one that this machine is too slow for. Only the first is
/// the copy's fault.
async fn not_written(server: &mut Server, error: ClientError, index: Option<u64>) -> Fault {
    let timed_out =
        matches!(&error, ClientError::Answered { message, .. } if message.contains("request timed out"));
    let reason = format!("it takes no write: {}", nightshift_core::chain(&error));
    match (index, log_end(server).await) {
        (Some(index), Some(end)) if timed_out && index >= end => Fault::Copy(format!(
            "{reason}, and drops it: its database is at entry {index} of a log that ends at {end}, so it is of another log"
        )),
        _ => match refused(server, &error) {
            Fault::Copy(_) => Fault::Copy(reason),
            here => here,
        },
    }
}

/// The last entry of the restored etcd's log.
async fn log_end(server: &Server) -> Option<u64> {
    server.client.status().await.ok().map(|status| status.raft_index)
}
