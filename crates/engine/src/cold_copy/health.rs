//! The health of all members, before one is stopped and until it is back. Each is queried itself.

use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::etcd_facts::MemberId;
use nightshift_etcd::client::Client;
use nightshift_etcd::cluster::{Cluster, MemberStatus, applied, lagging};
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::error::ClientError;
use nightshift_etcd::health::{Problem, own_errors};
use nightshift_etcd::message::{ResponseHeader, StatusResponse};
use tokio::time::{Instant, sleep};

use super::quorum::SurveyedMember;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the member at the etcd endpoint {0}")]
    NotOwn(Problem),
}

/// The cluster's current status.
#[derive(Debug)]
pub struct Survey {
    /// When the survey started.
    pub at: Instant,
    pub cluster_id: String,
    pub own: MemberId,
    pub is_leader: bool,
    pub members: Vec<SurveyedMember>,
}

impl Survey {
    pub fn label(&self) -> String {
        let own = self.members.iter().find(|member| member.id == self.own);
        own.map_or_else(|| self.own.to_string(), |own| own.label.clone())
    }

    /// The other members that responded: their ids, clients and raft indexes.
    pub fn others(&self) -> impl Iterator<Item = (MemberId, &Client, u64)> {
        let others = self.members.iter().filter(|member| member.id != self.own);
        others
            .filter_map(|member| member.response.as_ref().map(|(client, index)| (member.id, client, *index)))
    }

    pub fn clients(&self) -> Vec<Client> {
        self.others().map(|(_, client, _)| client.clone()).collect()
    }
}

/// Queries every member at its own client URL, with this host's certificate.
pub async fn survey(local: &LocalMember) -> Result<Survey, SurveyError> {
    let at = Instant::now();
    let client = Client::connect(local, REQUEST_TIMEOUT).await?;
    let cluster = Cluster::query(&client, local).await?;
    if let Some(problem) = cluster.not_own {
        return Err(SurveyError::NotOwn(problem));
    }
    let header = cluster.local.header.unwrap_or_default();
    let own = header.member_id();
    let responses = cluster.members.iter().filter_map(|member| member.response.as_ref().ok());
    let newest = responses.map(|response| response.status.raft_index).max().unwrap_or_default();
    let members = cluster.members.iter().map(|member| SurveyedMember {
        id: member.id,
        label: member.label(),
        learner: member.learner,
        response: member.response.as_ref().ok().map(|it| (it.client.clone(), it.status.raft_index)),
        problem: problem(member, newest, &header),
    });
    Ok(Survey {
        at,
        cluster_id: header.cluster_id(),
        own,
        is_leader: MemberId(cluster.local.leader) == own,
        members: members.collect(),
    })
}

fn problem(member: &MemberStatus, newest: u64, local: &ResponseHeader) -> Option<Problem> {
    let status = match &member.response {
        Ok(response) => &response.status,
        Err(reason) => return Some(Problem::NoResponse(reason.clone())),
    };
    let header = status.header.unwrap_or_default();
    if header.cluster_id != local.cluster_id {
        return Some(Problem::OtherCluster { other: header.cluster_id(), own: local.cluster_id() });
    }
    if status.leader == 0 {
        return Some(Problem::NoLeader);
    }
    lagging(status.raft_index, newest).or_else(|| own_errors(status, false).next())
}

/// Waits until this member takes part again: it responds, has a leader, and has applied what the others had when this started.
/// The error is what is missing at the end.
pub async fn wait_until_healthy(
    local: &LocalMember,
    others: &[Client],
    within: Duration,
) -> Result<(), String> {
    let until = Instant::now() + within;
    let mut goal = None;
    loop {
        if goal.is_none() {
            goal = index_of_others(others).await;
        }
        let missing = match status_of(local).await {
            Err(error) => chain(&error),
            Ok(status) => match missing(&status, others, goal) {
                None => return Ok(()),
                Some(missing) => missing,
            },
        };
        if Instant::now() >= until {
            return Err(missing);
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn status_of(local: &LocalMember) -> Result<StatusResponse, ClientError> {
    Client::connect(local, REQUEST_TIMEOUT).await?.status().await
}

/// The raft index of the first of the others that responds and has a leader.
async fn index_of_others(others: &[Client]) -> Option<u64> {
    for other in others {
        if let Ok(status) = other.status().await
            && status.leader != 0
        {
            return Some(status.raft_index);
        }
    }
    None
}

fn missing(status: &StatusResponse, others: &[Client], goal: Option<u64>) -> Option<String> {
    if status.leader == 0 {
        return Some("it has no leader".to_owned());
    }
    if let Some(error) = status.errors.first() {
        return Some(error.chars().take(200).collect());
    }
    let reached = applied(status);
    match goal {
        Some(index) if reached < index => Some(format!("it is {} raft entries behind", index - reached)),
        None if !others.is_empty() => Some("none of the other members responds".to_owned()),
        _ => None,
    }
}
