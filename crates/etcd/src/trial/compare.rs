//! The restored etcd, compared with the stored copy and its manifest.

use std::time::Duration;

use nightshift_core::etcd_facts::{Agreement, EtcdFacts};
use nightshift_core::proof::Comparison;

use super::contents::Contents;
use super::etcd::Origin;
use super::fault::Fault;
use super::server::{Server, refused};
use crate::client::Client;
use crate::error::ClientError;

/// The timeout of the restored etcd's own HashKV, which reads all its keys.
const HASH_TIMEOUT: Duration = Duration::from_secs(300);

/// The comparison of the members' hashes.
const HASH: &str = "HashKV";

/// What the restored etcd must contain.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub origin: Origin,
    pub contents: Option<&'a Contents>,
    pub facts: Option<&'a EtcdFacts>,
    /// The members' hashes in the facts are the statement of another host than the copy's.
    pub compared_elsewhere: bool,
}

/// Compares the restored etcd with what is expected. Each comparison is added to `compared`; a difference is the copy's fault.
pub async fn compare(
    server: &mut Server,
    expected: Expected<'_>,
    compared: &mut Vec<Comparison>,
) -> Result<(), Fault> {
    let client = server.client.clone();
    if let Err(error) = expected.compare(&client, compared).await {
        return Err(refused(server, &error));
    }
    judge(compared, expected.compared_elsewhere)
}

/// A difference is the copy's fault, unless it is between the copy and what another host states about its member.
fn judge(compared: &[Comparison], compared_elsewhere: bool) -> Result<(), Fault> {
    let Some(differs) = compared.iter().find(|one| one.difference().is_some()) else { return Ok(()) };
    let difference = differs.difference().unwrap_or_default();
    if compared_elsewhere && differs.what.starts_with(HASH) {
        let reason = "the host that compared the members reported another hash than this copy has";
        return Err(Fault::Here(format!("{reason}: {difference}; compare the members again")));
    }
    Err(Fault::Copy(difference))
}

impl Expected<'_> {
    async fn compare(self, client: &Client, compared: &mut Vec<Comparison>) -> Result<(), ClientError> {
        let revision = client.status().await?.revision();
        if let Some(contents) = self.contents {
            // An empty store has revision 1; one that is compacted beyond its last key has the compacted revision.
            let expected = contents.revision.max(contents.compacted).max(1);
            let more = revision - expected;
            compared.push(match (self.origin, more) {
                (_, ..=0) => Comparison::new("revision", expected, revision),
                (Origin::Restored, _) => Comparison::note(
                    "revision",
                    format!("{expected}, and {more} more by leases that expired since"),
                ),
                // The log of a member that was killed has entries that its database does not have yet.
                (Origin::ForceNewCluster, _) => Comparison::note(
                    "revision",
                    format!("{expected} in the database, and {more} more in the log"),
                ),
            });
            match self.counts(client, contents, expected, compared).await {
                // The log of a member that was killed may contain a compaction that its database does not have yet.
                Err(ClientError::Refused { message, .. })
                    if more > 0
                        && self.origin == Origin::ForceNewCluster
                        && message.contains("compacted") =>
                {
                    compared.push(Comparison::not_compared("live keys", "compacted since, by the log"));
                }
                counted => counted?,
            }
        }
        match self.facts.and_then(|facts| Some((facts, facts.agreement.as_ref()?))) {
            Some((facts, agreement)) => hash(client, &facts.member_id, agreement, compared).await,
            None => Ok(()),
        }
    }

    /// At the copy's own revision, which still has the keys of leases that expired since.
    async fn counts(
        self,
        client: &Client,
        contents: &Contents,
        revision: i64,
        compared: &mut Vec<Comparison>,
    ) -> Result<(), ClientError> {
        if let Some(snapshot) = self.facts.and_then(|facts| facts.snapshot.as_ref()) {
            let what = "entries in the manifest and in the copy";
            compared.push(Comparison::new(what, snapshot.entries, contents.entries));
        }
        compared.push(Comparison::new("live keys", contents.live, client.count(b"", revision).await?));
        for (prefix, count) in &contents.prefixes {
            let what = format!("keys below {}", String::from_utf8_lossy(prefix));
            compared.push(Comparison::new(what, count, client.count(prefix, revision).await?));
        }
        Ok(())
    }
}

/// The hash that the member reported when all members were compared. It is comparable only while nothing more is compacted.
async fn hash(
    client: &Client,
    member_id: &str,
    agreement: &Agreement,
    compared: &mut Vec<Comparison>,
) -> Result<(), ClientError> {
    let own = agreement.members.iter().find(|member| member.member_id == member_id);
    let Some(expected) = own.and_then(|member| member.hash) else { return Ok(()) };
    let what = format!("{HASH} at revision {}", agreement.revision);
    compared.push(match client.hash_kv(agreement.revision, HASH_TIMEOUT).await {
        Ok(found) if found.compact_revision == agreement.compacted => {
            Comparison::new(what, format!("{expected:08x}"), format!("{:08x}", found.hash))
        }
        Ok(found) => Comparison::not_compared(what, format!("compacted to {} since", found.compact_revision)),
        Err(ClientError::Refused { message, .. }) if message.contains("compacted") => {
            Comparison::not_compared(what, "compacted since")
        }
        Err(ClientError::Refused { message, .. }) if message.contains("future revision") => {
            Comparison::not_compared(what, "the snapshot was taken before the members were compared")
        }
        Err(error) => return Err(error),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_host_states_about_a_member_is_never_the_copys_fault() {
        let hash = || Comparison::new("HashKV at revision 7", "0000000a", "0000000b");
        let keys = || Comparison::new("live keys", 3, 2);
        assert_eq!(judge(&[Comparison::new("live keys", 3, 3)], true), Ok(()));
        assert!(matches!(judge(&[hash()], true), Err(Fault::Here(_))));
        assert!(matches!(judge(&[hash()], false), Err(Fault::Copy(_))), "its own host's statement");
        assert!(matches!(judge(&[keys(), hash()], true), Err(Fault::Copy(_))));
    }
}
