//! All members of the cluster, each with its own status, queried with this host's TLS files.

use std::time::Duration;

use futures_util::future::join_all;
use nightshift_core::chain;
use nightshift_core::etcd_facts::{Member, MemberId};
use nightshift_core::text::{Text, one_line};

use crate::client::Client;
use crate::discover::LocalMember;
use crate::error::ClientError;
use crate::health::{Alarm, MemberProblem, Problem, not_own, own_errors};
use crate::message::{ListedMember, StatusResponse};

/// The timeout of one request to another member.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// More members, and client URLs of one member, than any cluster has.
const MAX_MEMBERS: usize = 32;
const MAX_URLS: usize = 4;
/// The number of raft entries by which a healthy member may lag: docs/facts/etcd.md#members.
const MAX_RAFT_LAG: u64 = 5000;

/// The members, in the order in which their snapshots are taken.
#[derive(Debug)]
pub struct Cluster {
    pub members: Vec<MemberStatus>,
    /// The local member's status.
    pub local: StatusResponse,
    /// Set if the local endpoint belongs to another host's member.
    pub not_own: Option<Problem>,
}

/// A member as this host sees it.
#[derive(Debug)]
pub struct MemberStatus {
    pub id: MemberId,
    /// Empty until the member has started for the first time.
    pub name: Text,
    pub learner: bool,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    /// Its response, or why there is none.
    pub response: Result<Response, String>,
}

#[derive(Debug)]
pub struct Response {
    pub client: Client,
    pub status: StatusResponse,
}

impl Cluster {
    /// Queries the local member for the member list, and each member for its status. Only a failed request to the local member
    /// is an error.
    pub async fn query(client: &Client, local: &LocalMember) -> Result<Self, ClientError> {
        let status = client.status().await?;
        let own = status.header.unwrap_or_default().member_id();
        let mut listed = client.members().await?.members;
        listed.truncate(MAX_MEMBERS);
        let not_own = not_own(&listed, own, local);
        let order =
            order(listed.iter().map(|member| (member.id(), member.is_learner)), MemberId(status.leader));
        let mut own_response = Some(Response { client: client.clone(), status: status.clone() });
        let queries = listed.into_iter().map(|member| {
            let known = if member.id() == own { own_response.take() } else { None };
            async move {
                let response = match known {
                    Some(response) => Ok(response),
                    None => query(&member, local).await,
                };
                let (id, name) = (member.id(), Text::new(&member.name));
                let ListedMember { peer_urls, client_urls, is_learner: learner, .. } = member;
                MemberStatus { id, name, learner, peer_urls, client_urls, response }
            }
        });
        let mut members = join_all(queries).await;
        members.sort_by_key(|member| order.iter().position(|id| *id == member.id));
        Ok(Self { members, local: status, not_own })
    }

    /// This member's place in the order; `None` for a learner, which takes no snapshot.
    pub fn place(&self, id: MemberId) -> Option<usize> {
        self.voters().position(|member| member.id == id)
    }

    /// The members before it in the order.
    pub fn before(&self, id: MemberId) -> impl Iterator<Item = &MemberStatus> {
        self.voters().take_while(move |member| member.id != id)
    }

    pub fn voters(&self) -> impl Iterator<Item = &MemberStatus> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Whether this member's host requests all members' hashes: that of the first member that responds.
    pub fn compares(&self, id: MemberId) -> bool {
        self.voters().find(|member| member.response.is_ok()).is_some_and(|first| first.id == id)
    }

    /// The member list, by the members' ids.
    pub fn listed(&self) -> Vec<Member> {
        let mut members: Vec<&MemberStatus> = self.members.iter().collect();
        members.sort_by_key(|member| member.id);
        let listed = members.into_iter().map(|member| Member {
            id: member.id.to_string().into(),
            name: member.name.clone(),
            peer_urls: member.peer_urls.iter().collect(),
            client_urls: member.client_urls.iter().collect(),
            learner: member.learner,
        });
        listed.collect()
    }

    /// What is wrong with the members, except what the local one reports about itself.
    pub fn problems(&self, own: MemberId) -> Vec<MemberProblem> {
        let status = |id| {
            let member = self.members.iter().find(|member| member.id == id)?;
            Some(&member.response.as_ref().ok()?.status)
        };
        let leader = status(MemberId(self.local.leader)).map(applied);
        let version = status(own).map(|status| status.version.as_str());
        self.members
            .iter()
            .flat_map(|member| {
                let problems = member.problems(member.id == own, leader, version);
                problems.into_iter().map(|problem| MemberProblem { member: member.label(), problem })
            })
            .collect()
    }
}

impl MemberStatus {
    /// Its name, or its id if it has none.
    pub fn label(&self) -> String {
        if self.name.is_empty() { self.id.to_string() } else { self.name.to_string() }
    }

    /// Why a snapshot of it would not be good. `alarms` are those of all members.
    pub fn unfit(&self, alarms: &[Alarm]) -> Option<Problem> {
        let alarm = alarms.iter().find(|alarm| alarm.member_id == self.id);
        match &self.response {
            Err(reason) => Some(Problem::NoResponse(reason.clone())),
            Ok(Response { status, .. }) if status.leader == 0 => Some(Problem::NoLeader),
            Ok(Response { status, .. }) => {
                alarm.map(|alarm| Problem::Alarm(alarm.kind.clone())).or(own_errors(status, true).next())
            }
        }
    }

    fn problems(&self, own: bool, leader: Option<u64>, version: Option<&str>) -> Vec<Problem> {
        let Response { status, .. } = match &self.response {
            Ok(response) => response,
            Err(reason) => return vec![Problem::NoResponse(reason.clone())],
        };
        let mut problems = Vec::new();
        problems.extend(leader.and_then(|leader| lagging(applied(status), leader)));
        if own {
            return problems;
        }
        if status.leader == 0 {
            problems.push(Problem::NoLeader);
        }
        if self.learner || status.is_learner {
            problems.push(Problem::Learner);
        }
        if let Some(own) = version.filter(|own| *own != status.version) {
            let version = Text::new(&status.version);
            problems.push(Problem::OtherVersion { version, own: own.into() });
        }
        // The alarms of all members come from the local one.
        problems.extend(own_errors(status, true));
        problems
    }
}

/// Set if `index` is further behind the newest one than a healthy member's.
pub fn lagging(index: u64, newest: u64) -> Option<Problem> {
    let behind = newest.saturating_sub(index);
    (behind > MAX_RAFT_LAG).then_some(Problem::Lagging { behind })
}

/// The last applied entry, or the last received one: up to etcd 3.3 only that is reported.
pub fn applied(status: &StatusResponse) -> u64 {
    if status.raft_applied_index == 0 { status.raft_index } else { status.raft_applied_index }
}

/// Tries the member's client URLs one after the other.
async fn query(member: &ListedMember, local: &LocalMember) -> Result<Response, String> {
    if member.client_urls.is_empty() {
        return Err("it has no client URL; was it ever started?".to_owned());
    }
    let mut reasons = Vec::new();
    for url in member.client_urls.iter().take(MAX_URLS) {
        match query_url(member.id(), url, local).await {
            Ok(response) => return Ok(response),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(one_line(&reasons.join("; ")))
}

async fn query_url(id: MemberId, url: &str, local: &LocalMember) -> Result<Response, String> {
    let member = LocalMember { endpoint: url.trim_end_matches('/').to_owned(), ..local.clone() };
    let client = Client::connect(&member, REQUEST_TIMEOUT).await.map_err(|error| chain(&error))?;
    let status = client.status().await.map_err(|error| chain(&error))?;
    let other = status.header.unwrap_or_default().member_id();
    if other != id {
        let url = Text::new(url);
        return Err(format!("member {other} responds at {url}; is that its client URL?"));
    }
    Ok(Response { client, status })
}

/// The order in which the members' hosts take their snapshots. Each host computes it alone, and all get the same: followers by
/// their id, then the leader, so that it is left alone if possible, then learners, which take no snapshot.
fn order(members: impl IntoIterator<Item = (MemberId, bool)>, leader: MemberId) -> Vec<MemberId> {
    let mut members: Vec<(MemberId, bool)> = members.into_iter().collect();
    members.sort_by_key(|(id, learner)| (*learner, *id == leader, *id));
    members.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(members: &[(u64, bool)], leader: u64) -> Vec<u64> {
        let members = members.iter().map(|(id, learner)| (MemberId(*id), *learner));
        order(members, MemberId(leader)).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn followers_are_ordered_by_their_id_and_the_leader_is_last() {
        let members = [(7, false), (2, false), (5, false)];
        assert_eq!(ordered(&members, 2), [5, 7, 2]);
        assert_eq!(ordered(&members, 5), [2, 7, 5]);
        assert_eq!(ordered(&members, 0), [2, 5, 7], "without a leader by id alone");
    }

    #[test]
    fn a_learner_comes_after_the_leader() {
        assert_eq!(ordered(&[(1, true), (2, false), (3, false)], 2), [3, 2, 1]);
    }

    #[test]
    fn the_order_does_not_depend_on_how_the_members_are_listed() {
        let listed = [[(1, false), (2, false), (3, false)], [(3, false), (1, false), (2, false)]];
        assert_eq!(ordered(&listed[0], 3), ordered(&listed[1], 3));
    }
}
