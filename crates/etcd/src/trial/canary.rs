//! A key of our own, written, read and deleted: health checks do not show whether etcd accepts writes.

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::etcd_facts::MemberId;
use nightshift_core::proof::Comparison;

use super::fault::Fault;
use super::server::{Server, refused};
use crate::error::ClientError;
use crate::message::AlarmType;

/// Which alarms CORRUPT in the copy say nothing about it. etcd stores alarms in the database, so that every member's copy
/// contains that of the corrupt member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlarmRule {
    /// Those of other members than this one, whose id is hexadecimal.
    Member(String),
    /// None, because the comparison of the members names this one.
    Diverged,
    /// None, because the copy's member is unknown.
    UnknownMember,
}

/// Writes, reads and deletes a key that does not exist otherwise. `index` is the last log entry that the copy's database has
/// applied, if it is known. What had to be changed for the write is added to `compared`.
pub async fn write(
    server: &mut Server,
    index: Option<u64>,
    rule: &AlarmRule,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let number = format!("{:x}-{:x}", Timestamp::now().as_nanosecond(), std::process::id());
    let key = format!("/nightshift/canary/{number}").into_bytes();
    let mut put = server.client.put(&key, number.as_bytes()).await;
    if put.as_ref().is_err_and(is_alarmed) {
        compared.extend(disarm(server, rule).await?);
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

/// Whether an alarm is the reason: docs/facts/etcd.md#restore. The texts: etcd api/v3rpc/rpctypes/error.go.
fn is_alarmed(error: &ClientError) -> bool {
    let of_alarms = ["database space exceeded", "corrupt cluster"];
    matches!(error, ClientError::Refused { message, .. } if of_alarms.iter().any(|text| message.contains(text)))
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

/// Disarms the alarms that say nothing about the copy: they are of the cluster that it was taken from, and the restored etcd
/// refuses writes until then, as it would after a restore. Returns the notes for the proof. A copy with another alarm is not
/// proved.
async fn disarm(server: &mut Server, rule: &AlarmRule) -> Result<Vec<Comparison>, Fault> {
    let client = server.client.clone();
    let alarms = client.alarms().await.map_err(|error| refused(server, &error))?.alarms;
    let mut disarmed = Vec::new();
    for alarm in alarms {
        let (kind, member) = (alarm.alarm(), MemberId(alarm.member_id));
        let name = match kind {
            AlarmType::NoSpace => "NOSPACE",
            AlarmType::Corrupt => {
                rule.allows(member)?;
                "CORRUPT"
            }
            AlarmType::None => continue,
        };
        client.disarm(alarm).await.map_err(|error| refused(server, &error))?;
        disarmed.push(Comparison::note(
            format!("alarm {name} of member {member}"),
            "disarmed in this drill; after a restore, run `etcdctl alarm disarm`",
        ));
    }
    Ok(disarmed)
}

impl AlarmRule {
    /// Whether an alarm CORRUPT of this member may be disarmed.
    fn allows(&self, member: MemberId) -> Result<(), Fault> {
        let reason = match self {
            // etcd raises the alarm with the id 0 if it cannot find out which member is corrupt.
            Self::Member(own) if member.0 != 0 && *own != member.to_string() => return Ok(()),
            Self::Member(_) if member.0 == 0 => "which names no member".to_owned(),
            Self::Member(_) => "its own member's".to_owned(),
            Self::Diverged => format!("of member {member}, and the members' comparison names its own member"),
            Self::UnknownMember => format!("of member {member}, and the copy's own member is unknown"),
        };
        Err(Fault::Here(format!(
            "the copy contains the alarm CORRUPT, {reason}; restore another member's copy, or compare the members first"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_for_corrupt_data_is_disarmed_only_if_it_is_another_members_and_this_one_did_not_diverge() {
        let own = AlarmRule::Member("a1".to_owned());
        assert_eq!(own.allows(MemberId(0xb2)), Ok(()));
        for (rule, member, reason) in [
            (own.clone(), 0xa1, "its own member's"),
            (own, 0, "names no member"),
            (AlarmRule::Diverged, 0xb2, "comparison names its own member"),
            (AlarmRule::UnknownMember, 0xb2, "own member is unknown"),
        ] {
            let Err(Fault::Here(refused)) = rule.allows(MemberId(member)) else {
                panic!("{rule:?}: {member:x}")
            };
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
