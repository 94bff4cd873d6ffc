//! What was restored, held against the manifest and against the stored copy.

use std::time::Duration;

use nightshift_core::etcd_facts::{Agreement, AgreementWord, EtcdFacts};
use nightshift_core::proof::Comparison;

use super::contents::Contents;
use super::fault::Fault;
use super::server::{Server, refused};
use crate::etcd::{Client, ClientError};

/// How long the restored etcd may take to read all its keys.
const HASHING: Duration = Duration::from_secs(300);

/// What must be the same.
pub struct Compare<'a> {
    pub server: &'a mut Server,
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
            self.put("revision", contents.revision.max(contents.compacted).max(1), revision);
            if let Some(passed) = self.facts.and_then(|facts| facts.passed.as_ref()) {
                self.put("entries in the manifest and in the copy", passed.entries, contents.entries);
            }
            self.put("live keys", contents.live, client.count(b"").await?);
            for (prefix, count) in &contents.prefixes {
                let what = format!("keys below {}", String::from_utf8_lossy(prefix));
                self.put(&what, *count, client.count(prefix).await?);
            }
        }
        if let Some(agreement) = self.facts.and_then(|facts| facts.agreement.as_ref()) {
            self.hash(client, agreement).await?;
        }
        Ok(())
    }

    /// The hash that the members agreed on: comparable only while nothing more was compacted.
    async fn hash(&mut self, client: &Client, agreement: &Agreement) -> Result<(), ClientError> {
        let mut hashes = agreement.members.iter().filter_map(|member| member.hash);
        let (AgreementWord::Agreed, Some(expected)) = (agreement.word, hashes.next()) else {
            return Ok(());
        };
        let what = format!("HashKV at revision {}", agreement.revision);
        match client.hash_kv(agreement.revision, HASHING).await {
            Ok(answer) if answer.compact_revision == agreement.compacted => {
                self.put(&what, format!("{expected:08x}"), format!("{:08x}", answer.hash));
            }
            // Neither is the copy's fault, and both are said.
            Ok(answer) => self.not_comparable(&what, answer.compact_revision, agreement),
            Err(ClientError::Answered { message, .. }) if message.contains("compacted") => {
                self.not_comparable(&what, agreement.revision, agreement);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn not_comparable(&mut self, what: &str, compacted: i64, agreement: &Agreement) {
        let word = format!(
            "not comparable: compacted to {compacted} since, and to {} when the members were asked",
            agreement.compacted
        );
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
