//! Whether all members hold the same: HashKV of each, one after the other, at one revision (docs/facts/etcd.md#hashkv).

use std::collections::BTreeSet;
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::etcd_facts::{Agreement, AgreementState, MemberHash};
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::client::HASHING;
use crate::cluster::{Answering, Cluster, Seen};
use crate::health::hex;
use crate::message::HashKvResponse;
use crate::trouble::ClientError;

/// How long the members are asked, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Agreeing {
    /// For one member, which reads its whole database.
    pub each: Duration,
    /// For all of it.
    pub all: Duration,
    /// Compaction may overtake a round, and a disagreement is believed only when it was seen twice.
    pub rounds: u32,
    pub pause: Duration,
}

impl Default for Agreeing {
    fn default() -> Self {
        Self { each: HASHING, all: Duration::from_secs(900), rounds: 5, pause: Duration::from_secs(1) }
    }
}

/// What one member said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Hash {
        hash: u32,
        compacted: i64,
        newest: i64,
    },
    /// What was asked for lies at or below its compaction.
    Compacted,
    /// It has not got there yet.
    Behind,
    Nothing(String),
}

/// What a round came to.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Settled(AgreementState, Option<String>),
    Again(String),
}

/// Asks every member that votes. Nothing that goes wrong here is an error: then it is unknown, and says why.
pub async fn agreement(cluster: &Cluster, limits: Agreeing) -> Agreement {
    let voters: Vec<&Seen> = cluster.voters().collect();
    if voters.len() < 2 {
        return unknown(&voters, "there is only one member".to_owned());
    }
    match timeout(limits.all, rounds(&voters, limits)).await {
        Ok(agreement) => agreement,
        Err(_) => unknown(&voters, format!("the members took longer than {} s", limits.all.as_secs())),
    }
}

fn unknown(voters: &[&Seen], reason: String) -> Agreement {
    let members = voters.iter().map(|seen| member_hash(seen, None)).collect();
    Agreement { state: AgreementState::Unknown, reason: Some(reason), revision: 0, compacted: 0, members }
}

fn member_hash(seen: &Seen, hash: Option<u32>) -> MemberHash {
    MemberHash { member_id: hex(seen.id), name: seen.name.clone(), hash }
}

async fn rounds(voters: &[&Seen], limits: Agreeing) -> Agreement {
    let mut last = "no round was made".to_owned();
    let mut was_compacted = false;
    let mut disagreed = false;
    for round in 0..limits.rounds {
        if round > 0 {
            sleep(limits.pause).await;
        }
        // Where everything is compacted, only the newest revision itself can be asked for; it must be the same one.
        let asked = if was_compacted { 0 } else { common_revision(voters).await };
        let mut said = Vec::new();
        for seen in voters {
            said.push((*seen, ask(seen, asked, limits.each).await));
        }
        was_compacted = !was_compacted && said.iter().any(|(_, said)| *said == Said::Compacted);
        match weigh(asked, &said) {
            Round::Settled(AgreementState::Diverged, _) if !disagreed => {
                disagreed = true;
                last = "the members disagreed once, and could not be asked again".to_owned();
            }
            Round::Settled(word, reason) => return concluded(asked, &said, word, reason),
            Round::Again(reason) => last = reason,
        }
    }
    unknown(voters, last)
}

/// The newest revision that all members have that answer; 0 where none does.
async fn common_revision(voters: &[&Seen]) -> i64 {
    let mut lowest: Option<i64> = None;
    for Answering { client, .. } in voters.iter().filter_map(|seen| seen.answering.as_ref().ok()) {
        // One that has just gone says so when it is asked for its hash.
        let Ok(status) = client.status().await else { continue };
        let revision = status.header.unwrap_or_default().revision;
        lowest = Some(lowest.map_or(revision, |lowest| lowest.min(revision)));
    }
    lowest.unwrap_or(0)
}

async fn ask(seen: &Seen, revision: i64, patience: Duration) -> Said {
    let Answering { client, status } = match &seen.answering {
        Ok(answering) => answering,
        Err(why) => return Said::Nothing(format!("{} does not answer: {why}", seen.label())),
    };
    match client.hash_kv(revision, patience).await {
        Ok(HashKvResponse { header, hash, compact_revision }) => {
            Said::Hash { hash, compacted: compact_revision, newest: header.unwrap_or_default().revision }
        }
        Err(error) => refusal(&error, &seen.label(), &status.version),
    }
}

fn refusal(error: &ClientError, member: &str, version: &str) -> Said {
    match error {
        ClientError::Answered { code: Code::Unimplemented, .. } => {
            Said::Nothing(format!("etcd {version} of {member} has no HashKV, which came with 3.3"))
        }
        ClientError::Answered { message, .. } if message.contains("has been compacted") => Said::Compacted,
        ClientError::Answered { message, .. } if message.contains("future revision") => Said::Behind,
        ClientError::NotAuthorised { .. } => Said::Nothing(format!(
            "authentication is on, and {member} tells its hash only to a user with the role root"
        )),
        error => Said::Nothing(format!("{member} does not answer: {}", chain(error))),
    }
}

fn weigh(asked: i64, said: &[(&Seen, Said)]) -> Round {
    let (mut hashes, mut compactions, mut newest) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut silent = Vec::new();
    for (seen, said) in said {
        match said {
            Said::Hash { hash, compacted, newest: at } => {
                hashes.insert(*hash);
                compactions.insert(*compacted);
                newest.insert(*at);
            }
            Said::Compacted => return Round::Again(format!("compaction overtook {}", seen.label())),
            Said::Behind => return Round::Again(format!("{} had not got to the revision yet", seen.label())),
            Said::Nothing(why) => silent.push(why.clone()),
        }
    }
    if compactions.len() > 1 {
        return Round::Again("the members have not compacted to the same revision".to_owned());
    }
    if asked == 0 && newest.len() > 1 {
        return Round::Again("all is compacted, and the members were not at the same revision".to_owned());
    }
    if hashes.len() > 1 {
        return Round::Settled(AgreementState::Diverged, Some(told(asked, said)));
    }
    if silent.is_empty() {
        return Round::Settled(AgreementState::Agreed, None);
    }
    silent.dedup();
    Round::Settled(AgreementState::Unknown, Some(silent.join("; ")))
}

/// Who said what.
fn told(asked: i64, said: &[(&Seen, Said)]) -> String {
    let words: Vec<String> = said
        .iter()
        .map(|(seen, said)| match said {
            Said::Hash { hash, .. } => format!("{} has hash {hash}", seen.label()),
            _ => format!("{} none", seen.label()),
        })
        .collect();
    format!("at revision {} {}", revision(asked, said), words.join(", "))
}

fn revision(asked: i64, said: &[(&Seen, Said)]) -> i64 {
    let newest = said.iter().filter_map(|(_, said)| match said {
        Said::Hash { newest, .. } => Some(*newest),
        _ => None,
    });
    if asked == 0 { newest.min().unwrap_or(0) } else { asked }
}

fn concluded(asked: i64, said: &[(&Seen, Said)], state: AgreementState, reason: Option<String>) -> Agreement {
    let hash = |said: &Said| match said {
        Said::Hash { hash, .. } => Some(*hash),
        _ => None,
    };
    let compacted = said.iter().find_map(|(_, said)| match said {
        Said::Hash { compacted, .. } => Some(*compacted),
        _ => None,
    });
    Agreement {
        state,
        reason,
        revision: revision(asked, said),
        compacted: compacted.unwrap_or(0),
        members: said.iter().map(|(seen, said)| member_hash(seen, hash(said))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters() -> Vec<Seen> {
        let seen = |id: u64| Seen {
            id,
            name: format!("e{id}"),
            learner: false,
            answering: Err("it is a test".to_owned()),
        };
        (1..=3).map(seen).collect()
    }

    fn hash(hash: u32) -> Said {
        Said::Hash { hash, compacted: 5, newest: 9 }
    }

    fn weighed(asked: i64, said: [Said; 3]) -> Round {
        let voters = voters();
        weigh(asked, &voters.iter().zip(said).collect::<Vec<_>>())
    }

    #[test]
    fn equal_hashes_agree_and_unequal_ones_are_told_with_their_members() {
        assert_eq!(weighed(7, [hash(1), hash(1), hash(1)]), Round::Settled(AgreementState::Agreed, None));
        let Round::Settled(AgreementState::Diverged, Some(reason)) = weighed(7, [hash(1), hash(2), hash(1)])
        else {
            panic!("not diverged")
        };
        assert_eq!(reason, "at revision 7 e1 has hash 1, e2 has hash 2, e3 has hash 1");
    }

    #[test]
    fn who_does_not_answer_makes_it_unknown_but_hides_no_disagreement() {
        let gone = || Said::Nothing("e2 does not answer".to_owned());
        assert_eq!(
            weighed(7, [hash(1), gone(), hash(1)]),
            Round::Settled(AgreementState::Unknown, Some("e2 does not answer".to_owned()))
        );
        assert!(matches!(
            weighed(7, [hash(1), gone(), hash(3)]),
            Round::Settled(AgreementState::Diverged, _)
        ));
    }

    #[test]
    fn compaction_and_lag_ask_for_another_round_and_never_make_a_disagreement() {
        let compacted = |compacted| Said::Hash { hash: 2, compacted, newest: 9 };
        let newest = |newest| Said::Hash { hash: 2, compacted: 5, newest };
        for (asked, said) in [
            (7, [hash(1), Said::Compacted, hash(1)]),
            (7, [hash(1), Said::Behind, hash(2)]),
            (7, [hash(1), compacted(6), hash(1)]),
            (0, [hash(2), newest(10), hash(2)]),
        ] {
            assert!(matches!(weighed(asked, said.clone()), Round::Again(_)), "{said:?}");
        }
    }

    #[test]
    fn etcd_without_hashkv_and_one_that_wants_root_say_so() {
        let endpoint = || "http://e1:2379".to_owned();
        let answered = |code, message: &str| ClientError::Answered {
            endpoint: endpoint(),
            call: "HashKV",
            code,
            message: message.to_owned(),
        };
        let said = |error| refusal(&error, "e1", "3.2.32");
        assert_eq!(
            said(answered(Code::Unimplemented, "unknown method HashKV")),
            Said::Nothing("etcd 3.2.32 of e1 has no HashKV, which came with 3.3".to_owned())
        );
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(said(answered(Code::OutOfRange, compacted)), Said::Compacted);
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(said(answered(Code::OutOfRange, future)), Said::Behind);
        let denied =
            ClientError::NotAuthorised { endpoint: endpoint(), call: "HashKV", message: String::new() };
        assert!(matches!(said(denied), Said::Nothing(why) if why.contains("the role root")));
    }
}
