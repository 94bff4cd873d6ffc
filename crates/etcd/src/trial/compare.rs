//! What was restored, held against the manifest and against the stored copy.

use std::time::Duration;

use nightshift_core::etcd_facts::{Agreement, EtcdFacts};
use nightshift_core::proof::Comparison;

use super::contents::Contents;
use super::fault::Fault;
use super::server::{Origin, Server, refused};
use crate::client::Client;
use crate::trouble::ClientError;

/// How long the restored etcd may take to read all its keys.
const HASHING: Duration = Duration::from_secs(300);

/// What must be the same.
pub struct Compare<'a> {
    pub server: &'a mut Server,
    pub origin: Origin,
    pub contents: Option<&'a Contents>,
    pub facts: Option<&'a EtcdFacts>,
    pub compared: &'a mut Vec<Comparison>,
}

impl Compare<'_> {
    pub async fn all(mut self) -> Result<(), Fault> {
        let client = self.server.client.clone();
        let compared = self.ask(&client).await;
        if let Err(error) = compared {
            return Err(refused(self.server, &error));
        }
        let wrong = |one: &&Comparison| !one.is_same();
        match self.compared.iter().find(wrong) {
            Some(Comparison { what, expected, found }) => {
                Err(Fault::Copy(format!("{what}: {found} was restored where {expected} was expected")))
            }
            None => Ok(()),
        }
    }

    async fn ask(&mut self, client: &Client) -> Result<(), ClientError> {
        let revision = client.status().await?.header.unwrap_or_default().revision;
        if let Some(contents) = self.contents {
            // An empty store stands at 1, and one that is compacted beyond its last key at where it was.
            let expected = contents.revision.max(contents.compacted).max(1);
            match (self.origin, revision - expected) {
                (_, ..=0) => {
                    self.put("revision", expected, revision);
                    self.counts(client, contents, expected).await?;
                }
                (Origin::Restored, more) => {
                    let word = format!("{expected}, {more} more by leases that have run out since");
                    self.put("revision", &word, &word);
                    self.counts(client, contents, expected).await?;
                }
                // A member that was killed has in its log what its database does not hold yet.
                (Origin::ForceNewCluster, more) => {
                    let word = format!("{expected} in the database, {more} more from the log");
                    self.put("revision", &word, &word);
                }
            }
        }
        if let Some(agreement) = self.facts.and_then(|facts| facts.agreement.as_ref()) {
            self.hash(client, agreement).await?;
        }
        Ok(())
    }

    /// As of the copy's own revision: what a lease that has run out since took away is still there.
    async fn counts(
        &mut self,
        client: &Client,
        contents: &Contents,
        revision: i64,
    ) -> Result<(), ClientError> {
        if let Some(snapshot) = self.facts.and_then(|facts| facts.snapshot.as_ref()) {
            self.put("entries in the manifest and in the copy", snapshot.entries, contents.entries);
        }
        self.put("live keys", contents.live, client.count(b"", revision).await?);
        for (prefix, count) in &contents.prefixes {
            let what = format!("keys below {}", String::from_utf8_lossy(prefix));
            self.put(&what, *count, client.count(prefix, revision).await?);
        }
        Ok(())
    }

    /// The hash that the member told when all were asked: comparable only while nothing more was compacted.
    async fn hash(&mut self, client: &Client, agreement: &Agreement) -> Result<(), ClientError> {
        let own = self.facts.map(|facts| facts.member_id.as_str());
        let told = agreement.members.iter().find(|member| Some(member.member_id.as_str()) == own);
        let Some(expected) = told.and_then(|member| member.hash) else { return Ok(()) };
        let what = format!("HashKV at revision {}", agreement.revision);
        match client.hash_kv(agreement.revision, HASHING).await {
            Ok(answer) if answer.compact_revision == agreement.compacted => {
                self.put(&what, format!("{expected:08x}"), format!("{:08x}", answer.hash));
            }
            // None of these is the copy's fault, and each is said.
            Ok(answer) => {
                self.not_comparable(&what, format!("compacted to {} since", answer.compact_revision));
            }
            Err(ClientError::Answered { message, .. }) if message.contains("compacted") => {
                self.not_comparable(&what, "compacted since".to_owned());
            }
            Err(ClientError::Answered { message, .. }) if message.contains("future revision") => {
                self.not_comparable(&what, "taken before the members were asked".to_owned());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn not_comparable(&mut self, what: &str, why: String) {
        let word = format!("not comparable: {why}");
        self.put(what, &word, &word);
    }

    fn put(&mut self, what: &str, expected: impl ToString, found: impl ToString) {
        self.compared.push(Comparison {
            what: what.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
}
