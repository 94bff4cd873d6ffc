//! How all members are, each asked itself: before one is stopped, and until it is back.

use nightshift_core::chain;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::quorum::Seen;
use nightshift_etcd::message::StatusResponse;
use nightshift_etcd::{Client, ClientError, Cluster, Complaint, LocalMember, applied, hex};

const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Entries of the raft log by which a healthy member may be behind at the moment it is asked.
const MOST_LAG: u64 = 5_000;

#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    NotOwn(Complaint),
}

/// The cluster, as it looked just now.
#[derive(Debug)]
pub struct Survey {
    /// When it was begun.
    pub at: Instant,
    pub cluster_id: String,
    pub own: u64,
    pub leads: bool,
    pub members: Vec<Seen>,
    /// The others that answered.
    pub others: Vec<Other>,
}

#[derive(Debug)]
pub struct Other {
    pub id: u64,
    pub client: Client,
    pub raft_index: u64,
}

impl Survey {
    pub fn called(&self) -> String {
        self.members.iter().find(|member| member.id == self.own).map_or_else(|| hex(self.own), Seen::called)
    }

    pub fn clients(&self) -> Vec<Client> {
        self.others.iter().map(|other| other.client.clone()).collect()
    }
}

/// Asks every member, each by its own client URL and with this host's certificate.
pub async fn survey(local: &LocalMember) -> Result<Survey, SurveyError> {
    let at = Instant::now();
    let client = Client::connect(local, PATIENCE).await?;
    let cluster = Cluster::ask(&client, local).await?;
    if let Some(complaint) = cluster.not_own {
        return Err(SurveyError::NotOwn(complaint));
    }
    let header = cluster.local.header.unwrap_or_default();
    let own = header.member_id;
    let answers =
        || cluster.members.iter().filter_map(|member| Some((member.id, member.answering.as_ref().ok()?)));
    let newest = answers().map(|(_, answer)| answer.status.raft_index).max().unwrap_or_default();
    let members = cluster.members.iter().map(|member| {
        let trouble = match &member.answering {
            Ok(answer) => trouble(&answer.status, newest, header.cluster_id),
            Err(why) => Some(why.clone()),
        };
        Seen { id: member.id, name: member.name.clone(), learner: member.learner, trouble }
    });
    let others = answers().filter(|(id, _)| *id != own).map(|(id, answer)| Other {
        id,
        client: answer.client.clone(),
        raft_index: answer.status.raft_index,
    });
    Ok(Survey {
        at,
        cluster_id: hex(header.cluster_id),
        own,
        leads: cluster.local.leader == own,
        members: members.collect(),
        others: others.collect(),
    })
}

fn trouble(status: &StatusResponse, newest: u64, cluster_id: u64) -> Option<String> {
    let header = status.header.unwrap_or_default();
    if header.cluster_id != cluster_id {
        return Some("a member of another cluster answers at its client URL".to_owned());
    }
    if status.leader == 0 {
        return Some("it has no leader".to_owned());
    }
    if status.raft_index.saturating_add(MOST_LAG) < newest {
        return Some(format!("it is {} entries behind", newest - status.raft_index));
    }
    (!status.errors.is_empty()).then(|| status.errors.join("; ").chars().take(200).collect())
}

/// Waits until this member takes part again: it answers, follows the leader that the others follow, and has applied what
/// they had when this began. What it lacks at the end is the error.
pub async fn wait_back(local: &LocalMember, others: &[Client], within: Duration) -> Result<(), String> {
    let until = Instant::now() + within;
    let mut goal = None;
    loop {
        if goal.is_none() {
            goal = agreed(others).await;
        }
        let lacks = match status_of(local).await {
            Err(error) => chain(&error),
            Ok(status) => match lacks(&status, others, goal) {
                None => return Ok(()),
                Some(lacks) => lacks,
            },
        };
        if Instant::now() >= until {
            return Err(lacks);
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn status_of(local: &LocalMember) -> Result<StatusResponse, ClientError> {
    Client::connect(local, PATIENCE).await?.status().await
}

/// The leader that one of the others follows, and how far its log goes.
async fn agreed(others: &[Client]) -> Option<(u64, u64)> {
    for other in others {
        if let Ok(status) = other.status().await
            && status.leader != 0
        {
            return Some((status.leader, status.raft_index));
        }
    }
    None
}

fn lacks(status: &StatusResponse, others: &[Client], goal: Option<(u64, u64)>) -> Option<String> {
    if status.leader == 0 {
        return Some("it has no leader".to_owned());
    }
    if let Some(error) = status.errors.first() {
        return Some(error.chars().take(200).collect());
    }
    let reached = applied(status);
    match goal {
        Some((_, index)) if reached < index => Some(format!("it is {} entries behind", index - reached)),
        None if !others.is_empty() => Some("none of the others answers".to_owned()),
        _ => None,
    }
}
