//! Whether all members contain the same: HashKV of each, one after the other, at one revision (docs/facts/etcd.md#hashkv).

use std::collections::BTreeSet;
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::etcd_facts::{Agreement, AgreementState, MemberHash};
use tokio::time::{sleep, timeout};

use crate::client::HASH_TIMEOUT;
use crate::cluster::{Cluster, MemberStatus, Response};
use crate::error::ClientError;
use crate::message::HashKvResponse;

#[derive(Debug, Clone, Copy)]
pub struct AgreementLimits {
    /// The timeout of one member, which reads its whole database.
    pub each: Duration,
    /// The deadline of the whole comparison.
    pub all: Duration,
    /// A compaction can spoil a round, and a difference counts only if it was found twice.
    pub rounds: u32,
    /// The time between two rounds.
    pub interval: Duration,
}

impl Default for AgreementLimits {
    fn default() -> Self {
        Self {
            each: HASH_TIMEOUT,
            all: Duration::from_secs(900),
            rounds: 5,
            interval: Duration::from_secs(1),
        }
    }
}

/// The result of one request to one member.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HashReply {
    Hash(Hashed),
    /// The revision is at or below the member's compaction.
    Compacted,
    /// The member does not have the revision yet.
    Behind,
    None(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hashed {
    hash: u32,
    compacted: i64,
    newest: i64,
}

impl HashReply {
    const fn hashed(&self) -> Option<Hashed> {
        match self {
            Self::Hash(hashed) => Some(*hashed),
            _ => None,
        }
    }
}

/// The result of a round.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Settled(AgreementState, Option<String>),
    Retry(String),
}

/// Compares all voting members. There is no error: if they cannot be compared, the agreement is unknown, with the reason.
pub async fn agreement(cluster: &Cluster, limits: AgreementLimits) -> Agreement {
    let voters: Vec<&MemberStatus> = cluster.voters().collect();
    if voters.len() < 2 {
        return unknown(&voters, "the cluster has only one member".to_owned());
    }
    match timeout(limits.all, rounds(&voters, limits)).await {
        Ok(agreement) => agreement,
        Err(_) => {
            unknown(&voters, format!("the members were not compared within {} s", limits.all.as_secs()))
        }
    }
}

fn unknown(voters: &[&MemberStatus], reason: String) -> Agreement {
    let members = voters.iter().map(|member| member_hash(member, None)).collect();
    Agreement {
        state: AgreementState::Unknown,
        reason: Some(reason.into()),
        revision: 0,
        compacted: 0,
        members,
    }
}

fn member_hash(member: &MemberStatus, hash: Option<u32>) -> MemberHash {
    MemberHash { member_id: member.id.to_string().into(), name: member.name.as_str().into(), hash }
}

async fn rounds(voters: &[&MemberStatus], limits: AgreementLimits) -> Agreement {
    let mut last = "the members were not compared".to_owned();
    let mut was_compacted = false;
    let mut differed = false;
    for round in 0..limits.rounds {
        if round > 0 {
            sleep(limits.interval).await;
        }
        // If all revisions are compacted, only the newest one can be hashed; it must be the same for all members.
        let revision = if was_compacted { 0 } else { common_revision(voters).await };
        let mut replies = Vec::new();
        for member in voters {
            replies.push((*member, request_hash(member, revision, limits.each).await));
        }
        was_compacted = !was_compacted && replies.iter().any(|(_, reply)| *reply == HashReply::Compacted);
        match weigh(revision, &replies) {
            Round::Settled(AgreementState::Diverged, _) if !differed => {
                differed = true;
                last = "the members differed once, and could not be compared again".to_owned();
            }
            Round::Settled(state, reason) => return concluded(revision, &replies, state, reason),
            Round::Retry(reason) => last = reason,
        }
    }
    unknown(voters, last)
}

/// The newest revision that all responding members have; 0 if none responds.
async fn common_revision(voters: &[&MemberStatus]) -> i64 {
    let mut lowest: Option<i64> = None;
    for Response { client, .. } in voters.iter().filter_map(|member| member.response.as_ref().ok()) {
        // If a member has just failed, the request for its hash reports it.
        let Ok(status) = client.status().await else { continue };
        let revision = status.revision();
        lowest = Some(lowest.map_or(revision, |lowest| lowest.min(revision)));
    }
    lowest.unwrap_or(0)
}

async fn request_hash(member: &MemberStatus, revision: i64, timeout: Duration) -> HashReply {
    let Response { client, status } = match &member.response {
        Ok(response) => response,
        Err(reason) => return HashReply::None(format!("{} does not respond: {reason}", member.label())),
    };
    match client.hash_kv(revision, timeout).await {
        Ok(HashKvResponse { header, hash, compact_revision: compacted }) => {
            HashReply::Hash(Hashed { hash, compacted, newest: header.unwrap_or_default().revision })
        }
        Err(error) => refusal(&error, &member.label(), &status.version),
    }
}

fn refusal(error: &ClientError, member: &str, version: &str) -> HashReply {
    match error {
        error if error.is_unimplemented() => {
            HashReply::None(format!("{member} runs etcd {version}, which has no HashKV (from 3.3)"))
        }
        ClientError::Refused { message, .. } if message.contains("has been compacted") => {
            HashReply::Compacted
        }
        ClientError::Refused { message, .. } if message.contains("future revision") => HashReply::Behind,
        ClientError::NotAuthorised { .. } => HashReply::None(format!(
            "authentication is enabled, and {member} returns its hash only to a user with the role root"
        )),
        error => HashReply::None(format!("{member} does not respond: {}", chain(error))),
    }
}

fn weigh(revision: i64, replies: &[(&MemberStatus, HashReply)]) -> Round {
    let (mut hashes, mut compactions, mut newest) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut failures = Vec::new();
    for (member, reply) in replies {
        match reply {
            HashReply::Hash(hashed) => {
                hashes.insert(hashed.hash);
                compactions.insert(hashed.compacted);
                newest.insert(hashed.newest);
            }
            HashReply::Compacted => {
                return Round::Retry(format!("{} compacted the revision meanwhile", member.label()));
            }
            HashReply::Behind => {
                return Round::Retry(format!("{} did not have the revision yet", member.label()));
            }
            HashReply::None(reason) => failures.push(reason.clone()),
        }
    }
    if compactions.len() > 1 {
        return Round::Retry("the members had compacted to different revisions".to_owned());
    }
    if revision == 0 && newest.len() > 1 {
        return Round::Retry("all is compacted, and the members were at different revisions".to_owned());
    }
    if hashes.len() > 1 {
        return Round::Settled(AgreementState::Diverged, Some(hashes_of(revision, replies)));
    }
    if failures.is_empty() {
        return Round::Settled(AgreementState::Agreed, None);
    }
    failures.dedup();
    Round::Settled(AgreementState::Unknown, Some(failures.join("; ")))
}

/// Each member's hash, as text.
fn hashes_of(revision: i64, replies: &[(&MemberStatus, HashReply)]) -> String {
    let hashes: Vec<String> = replies
        .iter()
        .map(|(member, reply)| match reply.hashed() {
            Some(hashed) => format!("{} has hash {}", member.label(), hashed.hash),
            None => format!("{} has none", member.label()),
        })
        .collect();
    format!("at revision {} {}", hashed_revision(revision, replies), hashes.join(", "))
}

fn hashed_revision(revision: i64, replies: &[(&MemberStatus, HashReply)]) -> i64 {
    let newest = replies.iter().filter_map(|(_, reply)| Some(reply.hashed()?.newest));
    if revision == 0 { newest.min().unwrap_or(0) } else { revision }
}

fn concluded(
    revision: i64,
    replies: &[(&MemberStatus, HashReply)],
    state: AgreementState,
    reason: Option<String>,
) -> Agreement {
    let hash = |reply: &HashReply| reply.hashed().map(|hashed| hashed.hash);
    let compacted = replies.iter().find_map(|(_, reply)| Some(reply.hashed()?.compacted));
    Agreement {
        state,
        reason: reason.map(Into::into),
        revision: hashed_revision(revision, replies),
        compacted: compacted.unwrap_or(0),
        members: replies.iter().map(|(member, reply)| member_hash(member, hash(reply))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use nightshift_core::etcd_facts::MemberId;

    use tonic::Code;

    use super::*;

    fn voters() -> Vec<MemberStatus> {
        let member = |id: u64| MemberStatus {
            id: MemberId(id),
            name: format!("e{id}").into(),
            learner: false,
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            response: Err("it is a test".to_owned()),
        };
        (1..=3).map(member).collect()
    }

    fn hash(hash: u32) -> HashReply {
        HashReply::Hash(Hashed { hash, compacted: 5, newest: 9 })
    }

    fn weighed(revision: i64, replies: [HashReply; 3]) -> Round {
        let voters = voters();
        weigh(revision, &voters.iter().zip(replies).collect::<Vec<_>>())
    }

    #[test]
    fn equal_hashes_agree_and_different_ones_are_reported_with_their_members() {
        assert_eq!(weighed(7, [hash(1), hash(1), hash(1)]), Round::Settled(AgreementState::Agreed, None));
        let Round::Settled(AgreementState::Diverged, Some(reason)) = weighed(7, [hash(1), hash(2), hash(1)])
        else {
            panic!("not diverged")
        };
        assert_eq!(reason, "at revision 7 e1 has hash 1, e2 has hash 2, e3 has hash 1");
    }

    #[test]
    fn a_member_without_response_makes_the_agreement_unknown_but_does_not_hide_a_difference() {
        let gone = || HashReply::None("e2 does not respond".to_owned());
        assert_eq!(
            weighed(7, [hash(1), gone(), hash(1)]),
            Round::Settled(AgreementState::Unknown, Some("e2 does not respond".to_owned()))
        );
        assert!(matches!(
            weighed(7, [hash(1), gone(), hash(3)]),
            Round::Settled(AgreementState::Diverged, _)
        ));
    }

    #[test]
    fn compaction_and_lag_lead_to_another_round_and_never_to_a_difference() {
        let compacted = |compacted| HashReply::Hash(Hashed { hash: 2, compacted, newest: 9 });
        let newest = |newest| HashReply::Hash(Hashed { hash: 2, compacted: 5, newest });
        for (revision, replies) in [
            (7, [hash(1), HashReply::Compacted, hash(1)]),
            (7, [hash(1), HashReply::Behind, hash(2)]),
            (7, [hash(1), compacted(6), hash(1)]),
            (0, [hash(2), newest(10), hash(2)]),
        ] {
            assert!(matches!(weighed(revision, replies.clone()), Round::Retry(_)), "{replies:?}");
        }
    }

    #[test]
    fn etcd_without_hashkv_and_etcd_that_requires_root_are_reported() {
        let endpoint = || "http://e1:2379".to_owned();
        let refused = |code, message: &str| ClientError::Refused {
            endpoint: endpoint(),
            call: "HashKV",
            code,
            message: message.into(),
        };
        let reply = |error| refusal(&error, "e1", "3.2.32");
        assert_eq!(
            reply(refused(Code::Unimplemented, "unknown method HashKV")),
            HashReply::None("e1 runs etcd 3.2.32, which has no HashKV (from 3.3)".to_owned())
        );
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(reply(refused(Code::OutOfRange, compacted)), HashReply::Compacted);
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(reply(refused(Code::OutOfRange, future)), HashReply::Behind);
        let denied = ClientError::NotAuthorised { endpoint: endpoint(), call: "HashKV", message: "".into() };
        assert!(matches!(reply(denied), HashReply::None(reason) if reason.contains("the role root")));
    }
}
