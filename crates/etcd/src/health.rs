//! The local member's health, and whether it is this host's own member.

use std::path::PathBuf;

use nightshift_core::etcd_facts::MemberId;

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
    pub name: String,
    pub version: String,
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
        if self.name.is_empty() { self.id.to_string() } else { self.name.clone() }
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
    OwnError(String),
    #[error("does not return its {what}: {reason}")]
    Unknown { what: &'static str, reason: String },
    #[error("does not respond: {0}")]
    NoResponse(String),
    #[error("is {behind} raft entries behind the leader; its data may be old")]
    Lagging { behind: u64 },
    #[error("runs etcd {version}, but this host's member runs {own}")]
    OtherVersion { version: String, own: String },
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
            Err(error) => problems.push(Problem::Unknown { what: "member list", reason: error.to_string() }),
        }
        if status.leader != 0 {
            match client.alarms().await {
                Ok(response) => alarms = response.alarms,
                Err(error) => problems.push(Problem::Unknown { what: "alarms", reason: error.to_string() }),
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
        name: listed.iter().find(|member| member.id() == id).map_or_else(String::new, |own| own.name.clone()),
        version: status.version,
        revision: header.revision,
        raft_term: header.raft_term,
        leader: status.leader == header.member_id,
        learner: status.is_learner,
        alarms,
        db_size: u64::try_from(status.db_size).unwrap_or_default(),
        problems,
    })
}

/// This host's own member is the one with its name, or else the one that its endpoint belongs to.
pub fn not_own(listed: &[ListedMember], responding: MemberId, local: &LocalMember) -> Option<Problem> {
    let by_url = || {
        let same = |url: &String| url.trim_end_matches('/') == local.endpoint.trim_end_matches('/');
        listed.iter().find(|member| member.client_urls.iter().any(same))
    };
    let own = match &local.name {
        Some(name) => listed.iter().find(|member| member.name == *name).or_else(by_url),
        None => by_url(),
    }?;
    (own.id() != responding).then(|| Problem::NotOwn {
        responding: described(listed, responding),
        own: described(listed, own.id()),
    })
}

fn described(listed: &[ListedMember], id: MemberId) -> String {
    match listed.iter().find(|member| member.id() == id) {
        Some(member) if !member.name.is_empty() => format!("{} ({id})", member.name),
        _ => id.to_string(),
    }
}

/// What the member reports as errors. These include a missing leader and alarms, which are problems of their own.
pub fn own_errors(status: &StatusResponse, alarms_known: bool) -> impl Iterator<Item = Problem> {
    status
        .errors
        .iter()
        .filter(move |error| !(error.contains("no leader") || alarms_known && error.contains("alarm:")))
        .map(|error| Problem::OwnError(error.trim().to_owned()))
}

fn alarm_name(alarm: i32) -> String {
    match AlarmType::try_from(alarm) {
        Ok(AlarmType::None) => "NONE".to_owned(),
        Ok(AlarmType::NoSpace) => "NOSPACE".to_owned(),
        Ok(AlarmType::Corrupt) => "CORRUPT".to_owned(),
        Err(_) => format!("number {alarm}"),
    }
}
