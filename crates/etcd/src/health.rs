//! The local member's health, and whether it is this host's own member.

use std::path::PathBuf;

use nightshift_core::chain;
use nightshift_core::etcd_facts::MemberId;
use nightshift_core::text::Text;

use crate::client::Client;
use crate::discover::LocalMember;
use crate::error::ClientError;
use crate::message::{AlarmType, ListedMember, StatusResponse};

/// The member that responds, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// In hexadecimal, as etcdctl prints it.
    pub cluster_id: String,
    pub id: MemberId,
    /// From the member list; empty if that is unknown.
    pub name: Text,
    pub version: Text,
    pub revision: i64,
    pub raft_term: u64,
    pub leader: bool,
    pub learner: bool,
    /// Of all members of the cluster.
    pub alarms: Vec<Alarm>,
    /// The size of the database file, in bytes.
    pub db_size: u64,
    /// Why its snapshot may not be good, the most serious reason first.
    pub problems: Vec<Problem>,
}

impl Member {
    /// Its name, or its id if the name is unknown.
    pub fn label(&self) -> String {
        if self.name.is_empty() { self.id.to_string() } else { self.name.to_string() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} on member {member_id}")]
pub struct Alarm {
    pub kind: String,
    pub member_id: MemberId,
}

/// What is wrong with a member; it continues a text that begins with the member's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("is {responding}, not this host's own member {own}; set `endpoint` in [etcd]")]
    NotOwn { responding: String, own: String },
    #[error(
        "{responding} is not in the cluster's member list: a proxy or a load balancer responds; set `endpoint` in [etcd] to the \
         member's own URL"
    )]
    NotListed { responding: MemberId },
    #[error("is in cluster {other}, not in {own}")]
    OtherCluster { other: String, own: String },
    #[error("has no leader; its data may be old")]
    NoLeader,
    #[error("is a learner; its data may be old")]
    Learner,
    #[error("has the alarm {0}")]
    Alarm(String),
    #[error("is in a cluster with the alarm {0}")]
    AlarmElsewhere(Alarm),
    #[error("reports: {0}")]
    OwnError(Text),
    #[error("does not return its {what}: {reason}")]
    Unknown { what: &'static str, reason: String },
    #[error("does not respond: {0}")]
    NoResponse(String),
    #[error("is {behind} raft entries behind the leader; its data may be old")]
    Lagging { behind: u64 },
    #[error("runs etcd {version}, but this host's member runs {own}")]
    OtherVersion { version: Text, own: Text },
    #[error(
        "has a certificate in {} that {} on {on}; renew it",
        .path.display(),
        match .days {
            ..0 => "expired".to_owned(),
            days => format!("expires in {days} days,"),
        }
    )]
    Expires { path: PathBuf, on: String, days: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member} {problem}")]
pub struct MemberProblem {
    pub member: String,
    pub problem: Problem,
}

/// Queries the member about itself. Only a failed status request is an error.
pub async fn examine(client: &Client, local: &LocalMember) -> Result<Member, ClientError> {
    let status = client.status().await?;
    let header = status.header.unwrap_or_default();
    let id = header.member_id();
    let mut problems = Vec::new();
    let mut alarms = Vec::new();
    let mut listed = Vec::new();
    if status.leader == 0 {
        problems.push(Problem::NoLeader);
    }
    if status.is_learner {
        problems.push(Problem::Learner);
    } else {
        // A learner refuses both requests, and alarms need a leader.
        match client.members().await {
            Ok(response) => listed = response.members,
            Err(error) => problems.push(Problem::Unknown { what: "member list", reason: chain(&error) }),
        }
        if status.leader != 0 {
            match client.alarms().await {
                Ok(response) => alarms = response.alarms,
                Err(error) => problems.push(Problem::Unknown { what: "alarms", reason: chain(&error) }),
            }
        }
    }
    problems.extend(not_own(&listed, id, local));
    let alarms: Vec<Alarm> = alarms
        .iter()
        .map(|alarm| Alarm { kind: alarm_name(alarm.alarm), member_id: MemberId(alarm.member_id) })
        .collect();
    problems.extend(alarms.iter().map(|alarm| {
        if alarm.member_id == id {
            Problem::Alarm(alarm.kind.clone())
        } else {
            Problem::AlarmElsewhere(alarm.clone())
        }
    }));
    problems.extend(own_errors(&status, !alarms.is_empty()));
    Ok(Member {
        cluster_id: header.cluster_id(),
        id,
        name: listed
            .iter()
            .find(|member| member.id() == id)
            .map(|own| Text::new(&own.name))
            .unwrap_or_default(),
        version: status.version.into(),
        revision: header.revision,
        raft_term: header.raft_term,
        leader: status.leader == header.member_id,
        learner: status.is_learner,
        alarms,
        db_size: u64::try_from(status.db_size).unwrap_or_default(),
        problems,
    })
}

/// This host's own member is the one with its name, or else the one that its endpoint belongs to. Names and URLs may occur twice:
/// members advertise `http://localhost:2379` and are called `default` unless their configuration sets it.
pub fn not_own(listed: &[ListedMember], responding: MemberId, local: &LocalMember) -> Option<Problem> {
    if listed.is_empty() {
        return None;
    }
    if listed.iter().all(|member| member.id() != responding) {
        return Some(Problem::NotListed { responding });
    }
    let named = |member: &&ListedMember| local.name.as_ref().is_some_and(|name| member.name == *name);
    let own = listed.iter().filter(named).collect::<Vec<_>>();
    let own =
        if own.is_empty() { listed.iter().filter(|member| has_url(member, local)).collect() } else { own };
    let first = own.first()?;
    own.iter().all(|member| member.id() != responding).then(|| Problem::NotOwn {
        responding: described(listed, responding),
        own: described(listed, first.id()),
    })
}

fn has_url(member: &ListedMember, local: &LocalMember) -> bool {
    let same = |url: &String| url.trim_end_matches('/') == local.endpoint.trim_end_matches('/');
    member.client_urls.iter().any(same)
}

fn described(listed: &[ListedMember], id: MemberId) -> String {
    match listed.iter().find(|member| member.id() == id) {
        Some(member) if !member.name.is_empty() => format!("{} ({id})", Text::new(&member.name)),
        _ => id.to_string(),
    }
}

/// What the member reports as errors. These include a missing leader and alarms, which are problems of their own.
pub fn own_errors(status: &StatusResponse, alarms_known: bool) -> impl Iterator<Item = Problem> {
    status
        .errors
        .iter()
        .filter(move |error| !(error.contains("no leader") || alarms_known && error.contains("alarm:")))
        .map(|error| Problem::OwnError(error.trim().into()))
}

fn alarm_name(alarm: i32) -> String {
    match AlarmType::try_from(alarm) {
        Ok(AlarmType::None) => "NONE".to_owned(),
        Ok(AlarmType::NoSpace) => "NOSPACE".to_owned(),
        Ok(AlarmType::Corrupt) => "CORRUPT".to_owned(),
        Err(_) => format!("number {alarm}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(members: &[(u64, &str, &str)]) -> Vec<ListedMember> {
        let member = |(id, name, url): &(u64, &str, &str)| ListedMember {
            id: *id,
            name: (*name).to_owned(),
            client_urls: vec![(*url).to_owned()],
            ..ListedMember::default()
        };
        members.iter().map(member).collect()
    }

    fn local(name: Option<&str>, endpoint: &str) -> LocalMember {
        LocalMember { name: name.map(str::to_owned), endpoint: endpoint.to_owned(), ..LocalMember::default() }
    }

    #[test]
    fn members_that_share_a_name_or_a_url_are_each_their_own() {
        let same_url = listed(&[(1, "m1", "http://localhost:2379"), (2, "m2", "http://localhost:2379")]);
        let same_name =
            listed(&[(1, "default", "http://10.0.0.1:2379"), (2, "default", "http://10.0.0.2:2379")]);
        for responding in [MemberId(1), MemberId(2)] {
            assert_eq!(not_own(&same_url, responding, &local(None, "http://localhost:2379/")), None);
            assert_eq!(
                not_own(&same_name, responding, &local(Some("default"), "http://10.0.0.1:2379")),
                None
            );
        }
    }

    #[test]
    fn another_member_and_one_that_is_not_listed_are_named_as_what_they_are() {
        let members = listed(&[(1, "m1", "http://10.0.0.1:2379"), (2, "m2", "http://10.0.0.2:2379")]);
        let problem = not_own(&members, MemberId(2), &local(Some("m1"), "http://10.0.0.2:2379"));
        assert!(matches!(problem, Some(Problem::NotOwn { .. })), "{problem:?}");
        let problem = not_own(&members, MemberId(3), &local(None, "http://10.0.0.9:2379"));
        assert_eq!(problem, Some(Problem::NotListed { responding: MemberId(3) }));
        assert_eq!(not_own(&[], MemberId(3), &local(None, "http://10.0.0.9:2379")), None);
    }
}
