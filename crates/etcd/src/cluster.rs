//! All members of the cluster, each asked how it is, with this host's own TLS material.

use nightshift_core::chain;
use std::time::Duration;

use futures_util::future::join_all;

use crate::client::Client;
use crate::discover::LocalMember;
use crate::health::{Alarm, Complaint, Concern, hex, not_own, said_itself};
use crate::message::{ListedMember, StatusResponse};
use crate::trouble::ClientError;
use crate::turns::turns;

/// How long one address of another member may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// More members, or addresses of one, than anybody has.
const MOST_MEMBERS: usize = 32;
const MOST_URLS: usize = 4;
/// etcd keeps so many entries for followers that are behind; one that is further back needs a whole snapshot.
const FAR_BEHIND: u64 = 5000;

/// The members, in the order in which they take their turns.
#[derive(Debug)]
pub struct Cluster {
    pub members: Vec<Seen>,
    /// What the local member says of itself.
    pub local: StatusResponse,
    /// Where it is not the host's own after all.
    pub not_own: Option<Complaint>,
}

/// A member as this host sees it.
#[derive(Debug)]
pub struct Seen {
    pub id: u64,
    /// Empty until it has started for the first time.
    pub name: String,
    pub learner: bool,
    /// Why it does not answer, otherwise.
    pub answering: Result<Answering, String>,
}

#[derive(Debug)]
pub struct Answering {
    pub client: Client,
    pub status: StatusResponse,
}

impl Cluster {
    /// Asks the local member who else there is, and each of them how it is. Only what the local member does not
    /// answer is an error.
    pub async fn ask(client: &Client, local: &LocalMember) -> Result<Self, ClientError> {
        let status = client.status().await?;
        let own = status.header.unwrap_or_default().member_id;
        let mut listed = client.members().await?.members;
        listed.truncate(MOST_MEMBERS);
        let not_own = not_own(&listed, own, local);
        let order = turns(listed.iter().map(|member| (member.id, member.is_learner)), status.leader);
        let mut own_answer = Some(Answering { client: client.clone(), status: status.clone() });
        let looks = listed.into_iter().map(|member| {
            let known = if member.id == own { own_answer.take() } else { None };
            async move {
                let answering = match known {
                    Some(answering) => Ok(answering),
                    None => look(&member, local).await,
                };
                Seen { id: member.id, name: member.name, learner: member.is_learner, answering }
            }
        });
        let mut members = join_all(looks).await;
        members.sort_by_key(|member| order.iter().position(|id| *id == member.id));
        Ok(Self { members, local: status, not_own })
    }

    /// This member's place in the order; `None` for one that has none: a learner.
    pub fn turn(&self, id: u64) -> Option<usize> {
        self.voters().position(|member| member.id == id)
    }

    /// Those before it in the order.
    pub fn before(&self, id: u64) -> impl Iterator<Item = &Seen> {
        self.voters().take_while(move |member| member.id != id)
    }

    pub fn voters(&self) -> impl Iterator<Item = &Seen> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Whether this member is the one that asks all others for their hashes: the first that answers.
    pub fn asks(&self, id: u64) -> bool {
        self.voters().find(|member| member.answering.is_ok()).is_some_and(|first| first.id == id)
    }

    /// What speaks against the members, beyond what the local one says of itself.
    pub fn concerns(&self, own: u64) -> Vec<Concern> {
        let applied = |seen: &Seen| seen.answering.as_ref().ok().map(|it| applied(&it.status));
        let leader = self.members.iter().find(|member| member.id == self.local.leader).and_then(applied);
        let version = (self.members.iter())
            .find(|member| member.id == own)
            .and_then(|member| Some(member.answering.as_ref().ok()?.status.version.clone()));
        self.members
            .iter()
            .flat_map(|member| {
                let complaints = member.complaints(member.id == own, leader, version.as_deref());
                complaints.into_iter().map(|complaint| Concern { member: member.label(), complaint })
            })
            .collect()
    }
}

impl Seen {
    /// Its name, or its id where it has none.
    pub fn label(&self) -> String {
        if self.name.is_empty() { hex(self.id) } else { self.name.clone() }
    }

    /// Why a snapshot of it would be no good; `alarms` are those of all members.
    pub fn unfit(&self, alarms: &[Alarm]) -> Option<Complaint> {
        let own = hex(self.id);
        let alarm = alarms.iter().find(|alarm| alarm.member_id == own);
        match &self.answering {
            Err(why) => Some(Complaint::Silent(why.clone())),
            Ok(Answering { status, .. }) if status.leader == 0 => Some(Complaint::NoLeader),
            Ok(Answering { status, .. }) => {
                alarm.map(|alarm| Complaint::Alarm(alarm.kind.clone())).or(said_itself(status, true).next())
            }
        }
    }

    fn complaints(&self, own: bool, leader: Option<u64>, version: Option<&str>) -> Vec<Complaint> {
        let Answering { status, .. } = match &self.answering {
            Ok(answering) => answering,
            Err(why) => return vec![Complaint::Silent(why.clone())],
        };
        let mut complaints = Vec::new();
        let behind = leader.map_or(0, |leader| leader.saturating_sub(applied(status)));
        if behind > FAR_BEHIND {
            complaints.push(Complaint::Lagging { behind });
        }
        if own {
            return complaints;
        }
        if status.leader == 0 {
            complaints.push(Complaint::NoLeader);
        }
        if self.learner || status.is_learner {
            complaints.push(Complaint::Learner);
        }
        if let Some(own) = version.filter(|own| *own != status.version) {
            complaints.push(Complaint::OtherVersion { version: status.version.clone(), own: own.to_owned() });
        }
        // The alarms of all members come from the local one.
        complaints.extend(said_itself(status, true));
        complaints
    }
}

/// How far a member has come. Up to etcd 3.3 only the index of received entries is known (docs/facts/etcd.md#members).
pub fn applied(status: &StatusResponse) -> u64 {
    if status.raft_applied_index == 0 { status.raft_index } else { status.raft_applied_index }
}

/// Tries the member's addresses one after the other.
async fn look(member: &ListedMember, local: &LocalMember) -> Result<Answering, String> {
    if member.client_urls.is_empty() {
        return Err("it gives no client URL: has it ever been started?".to_owned());
    }
    let mut reasons = Vec::new();
    for url in member.client_urls.iter().take(MOST_URLS) {
        match look_at(member.id, url, local).await {
            Ok(answering) => return Ok(answering),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

async fn look_at(id: u64, url: &str, local: &LocalMember) -> Result<Answering, String> {
    let there = LocalMember { endpoint: url.trim_end_matches('/').to_owned(), ..local.clone() };
    let client = Client::connect(&there, PATIENCE).await.map_err(|error| chain(&error))?;
    let status = client.status().await.map_err(|error| chain(&error))?;
    let answers = status.header.unwrap_or_default().member_id;
    if answers != id {
        return Err(format!(
            "at {url} it is member {} that answers: is that URL another one's?",
            hex(answers)
        ));
    }
    Ok(Answering { client, status })
}
