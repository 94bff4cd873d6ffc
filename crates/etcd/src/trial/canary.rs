//! A key of our own, written, read and deleted: health checks do not show whether etcd accepts writes.

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::proof::Comparison;

use super::fault::Fault;
use super::server::{Server, refused};
use crate::error::ClientError;
use crate::message::AlarmType;

/// Writes, reads and deletes a key that does not exist otherwise. `index` is the last log entry that the copy's database has
/// applied, if it is known. What had to be changed for the write is added to `compared`.
pub async fn write(
    server: &mut Server,
    index: Option<u64>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let number = format!("{:x}-{:x}", Timestamp::now().as_nanosecond(), std::process::id());
    let key = format!("/nightshift/canary/{number}").into_bytes();
    let mut put = server.client.put(&key, number.as_bytes()).await;
    if put.as_ref().is_err_and(is_full) {
        compared.extend(disarm(server).await?);
        put = server.client.put(&key, number.as_bytes()).await;
    }
    if let Err(error) = put {
        return Err(not_written(server, error, index).await);
    }
    let client = server.client.clone();
    match client.get(&key).await {
        Ok(Some(read)) if read == number.as_bytes() => {}
        Ok(Some(_)) => return Err(Fault::Copy("etcd returned another value than was written".to_owned())),
        Ok(None) => return Err(Fault::Copy("etcd accepted a write and does not have the key".to_owned())),
        Err(error) => return Err(refused(server, &error)),
    }
    match client.delete(&key).await {
        Ok(1) => {}
        Ok(count) => return Err(Fault::Copy(format!("etcd deleted {count} keys instead of one"))),
        Err(error) => return Err(refused(server, &error)),
    }
    match client.get(&key).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(Fault::Copy("etcd still has the key that was deleted".to_owned())),
        Err(error) => Err(refused(server, &error)),
    }
}

/// Whether the alarm NOSPACE is the reason: docs/facts/etcd.md#restore.
fn is_full(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { message, .. } if message.contains("database space exceeded"))
}

/// A write timed out: either the store dropped it, because the database is ahead of the log (docs/facts/etcd.md#v2-backup),
/// which is the copy's fault, or this host is too slow, which is not.
async fn not_written(server: &mut Server, error: ClientError, index: Option<u64>) -> Fault {
    // "request timed out": etcd api/v3rpc/rpctypes/error.go
    let timed_out =
        matches!(&error, ClientError::Refused { message, .. } if message.contains("request timed out"));
    let reason = format!("etcd accepts no write: {}", chain(&error));
    match (index, log_end(server).await) {
        (Some(index), Some(end)) if timed_out && index >= end => Fault::Copy(format!(
            "{reason}; it drops writes, because its database has applied entry {index} of a log that ends at entry {end}: \
             database and log are of different copies"
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

/// Disarms the alarm NOSPACE, which a copy of a full etcd contains: it is of the cluster that the copy was taken from, and the
/// restored etcd refuses writes until then, as it would after a restore. Returns the notes for the proof. An alarm for corrupt
/// data stays: such a copy cannot be trusted.
async fn disarm(server: &mut Server) -> Result<Vec<Comparison>, Fault> {
    let client = server.client.clone();
    let alarms = client.alarms().await.map_err(|error| refused(server, &error))?.alarms;
    let mut disarmed = Vec::new();
    for alarm in alarms.into_iter().filter(|alarm| alarm.alarm() == AlarmType::NoSpace) {
        client.disarm(alarm).await.map_err(|error| refused(server, &error))?;
        disarmed.push(Comparison::note(
            format!("alarm NOSPACE of member {:x}", alarm.member_id),
            "disarmed in this drill; after a restore, run `etcdctl alarm disarm`",
        ));
    }
    Ok(disarmed)
}
