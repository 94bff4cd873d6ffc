//! How the local member is, and whether it is the local member at all.

use std::fmt;
use std::path::PathBuf;

use crate::client::Client;
use crate::discover::LocalMember;
use crate::message::{AlarmType, ListedMember, StatusResponse};
use crate::trouble::ClientError;

/// The member that answered, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Hexadecimal, as etcdctl prints them.
    pub cluster_id: String,
    pub member_id: String,
    /// From the member list; empty where that could not be asked.
    pub name: String,
    pub version: String,
    pub revision: i64,
    pub raft_term: u64,
    pub leader: bool,
    pub learner: bool,
    /// Of every member of the cluster.
    pub alarms: Vec<Alarm>,
    /// In bytes, as its file is on disk.
    pub db_size: u64,
    /// Reasons to distrust what it hands out, worst news first; none where all is well.
    pub complaints: Vec<Complaint>,
}

impl Member {
    /// Its name, or its id where that could not be asked.
    pub fn label(&self) -> &str {
        if self.name.is_empty() { &self.member_id } else { &self.name }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub kind: String,
    pub member_id: String,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on member {}", self.kind, self.member_id)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    #[error("the member that answers is {answering}, not this host's own, {own}: set `endpoint` in [etcd]")]
    NotOwn { answering: String, own: String },
    #[error("has no leader: what it holds may be old")]
    NoLeader,
    #[error("is a learner: what it holds may be old")]
    Learner,
    #[error("has the alarm {0}")]
    Alarm(String),
    #[error("another member of its cluster has an alarm: {0}")]
    AlarmElsewhere(Alarm),
    #[error("says of itself: {0}")]
    SaysItself(String),
    #[error("its {what} could not be asked: {why}")]
    Unknown { what: &'static str, why: String },
    #[error("does not answer: {0}")]
    Silent(String),
    #[error("is {behind} raft entries behind the leader: what it holds may be old")]
    Lagging { behind: u64 },
    #[error("runs etcd {version}, and this host's member {own}")]
    OtherVersion { version: String, own: String },
    #[error(
        "has a certificate in {} that {} on {on}: renew it",
        .path.display(),
        match .days {
            ..0 => "expired".to_owned(),
            days => format!("expires in {days} days,"),
        }
    )]
    Expires { path: PathBuf, on: String, days: i64 },
}

/// What speaks against one of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    pub member: String,
    pub complaint: Complaint,
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.member, self.complaint)
    }
}

/// Asks the member about itself. Only when it does not answer at all is that an error.
pub async fn examine(client: &Client, local: &LocalMember) -> Result<Member, ClientError> {
    let status = client.status().await?;
    let header = status.header.unwrap_or_default();
    let mut complaints = Vec::new();
    let mut alarms = Vec::new();
    let mut listed = Vec::new();
    if status.leader == 0 {
        complaints.push(Complaint::NoLeader);
    }
    if status.is_learner {
        complaints.push(Complaint::Learner);
    } else {
        // A learner refuses both; without a leader nobody can agree on alarms.
        match client.members().await {
            Ok(answer) => listed = answer.members,
            Err(error) => complaints.push(Complaint::Unknown { what: "member list", why: error.to_string() }),
        }
        if status.leader != 0 {
            match client.alarms().await {
                Ok(answer) => alarms = answer.alarms,
                Err(error) => complaints.push(Complaint::Unknown { what: "alarms", why: error.to_string() }),
            }
        }
    }
    complaints.extend(not_own(&listed, header.member_id, local));
    let alarms: Vec<Alarm> = alarms
        .iter()
        .map(|alarm| Alarm { kind: alarm_name(alarm.alarm), member_id: hex(alarm.member_id) })
        .collect();
    complaints.extend(alarms.iter().map(|alarm| {
        if alarm.member_id == hex(header.member_id) {
            Complaint::Alarm(alarm.kind.clone())
        } else {
            Complaint::AlarmElsewhere(alarm.clone())
        }
    }));
    complaints.extend(said_itself(&status, !alarms.is_empty()));
    Ok(Member {
        cluster_id: hex(header.cluster_id),
        member_id: hex(header.member_id),
        name: listed
            .iter()
            .find(|member| member.id == header.member_id)
            .map_or_else(String::new, |own| own.name.clone()),
        version: status.version,
        revision: header.revision,
        raft_term: header.raft_term,
        leader: status.leader == header.member_id,
        learner: status.is_learner,
        alarms,
        db_size: u64::try_from(status.db_size).unwrap_or_default(),
        complaints,
    })
}

/// The host's own member is the one with its name, or else the one that its endpoint belongs to.
pub fn not_own(listed: &[ListedMember], answering: u64, local: &LocalMember) -> Option<Complaint> {
    let by_url = || {
        let same = |url: &String| url.trim_end_matches('/') == local.endpoint.trim_end_matches('/');
        listed.iter().find(|member| member.client_urls.iter().any(same))
    };
    let own = match &local.name {
        Some(name) => listed.iter().find(|member| member.name == *name).or_else(by_url),
        None => by_url(),
    }?;
    (own.id != answering).then(|| Complaint::NotOwn {
        answering: described(listed, answering),
        own: described(listed, own.id),
    })
}

fn described(listed: &[ListedMember], id: u64) -> String {
    match listed.iter().find(|member| member.id == id) {
        Some(member) if !member.name.is_empty() => format!("{} ({})", member.name, hex(id)),
        _ => hex(id),
    }
}

/// What etcd lists as errors repeats the leader and the alarms, which have complaints of their own.
pub fn said_itself(status: &StatusResponse, alarms_known: bool) -> impl Iterator<Item = Complaint> {
    status
        .errors
        .iter()
        .filter(move |error| !(error.contains("no leader") || alarms_known && error.contains("alarm:")))
        .map(|error| Complaint::SaysItself(error.trim().to_owned()))
}

fn alarm_name(alarm: i32) -> String {
    match AlarmType::try_from(alarm) {
        Ok(AlarmType::None) => "NONE".to_owned(),
        Ok(AlarmType::NoSpace) => "NOSPACE".to_owned(),
        Ok(AlarmType::Corrupt) => "CORRUPT".to_owned(),
        Err(_) => format!("number {alarm}"),
    }
}

/// As etcdctl prints ids.
pub fn hex(id: u64) -> String {
    format!("{id:x}")
}
