//! What this host sees of etcd before it takes a snapshot: its own member, the other members, and certificates that expire.

use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::role::Role;
use nightshift_etcd::client::Client;
use nightshift_etcd::cluster::Cluster;
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::expiry;
use nightshift_etcd::health::{Member, MemberProblem, Problem, examine};
use nightshift_store::offload;

use crate::context::StageContext;
use crate::stages::error::StageError;

/// The timeout of one request to the member.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

pub struct MemberView {
    pub client: Client,
    pub member: Member,
    /// `None` if the member does not return the member list: a learner, or a member without a leader.
    pub cluster: Option<Cluster>,
    /// Problems of this member's certificates, and of the other members.
    pub problems: Vec<MemberProblem>,
}

impl MemberView {
    pub async fn of(local: &LocalMember) -> Result<Self, StageError> {
        let client = Client::connect(local, REQUEST_TIMEOUT).await?;
        let member = examine(&client, local).await?;
        let is_other =
            |problem: &&Problem| matches!(problem, Problem::NotOwn { .. } | Problem::NotListed { .. });
        if let Some(problem) = member.problems.iter().find(is_other) {
            return Err(StageError::NotOwn(problem.clone()));
        }
        // The reason of an error is among the member's own problems.
        let cluster = Cluster::query(&client, local).await.ok();
        let (described, now) = (local.clone(), Timestamp::now());
        let expiries = offload::run(move || expiry::expiries(&described, now)).await;
        let problems = expiry::problems(&expiries, now)
            .map(|problem| MemberProblem { member: member.label(), problem })
            .chain(cluster.iter().flat_map(|cluster| cluster.problems(member.id)))
            .collect();
        Ok(Self { client, member, cluster, problems })
    }

    /// Logs each problem as an event of its own.
    pub fn report(&self, ctx: &StageContext) {
        let own = self.member.problems.iter().cloned();
        let own = own.map(|problem| MemberProblem { member: self.member.label(), problem });
        for one in own.chain(self.problems.iter().cloned()) {
            ctx.log(Event {
                role: Some(Role::Etcd),
                reason: Some(one.problem.to_string()),
                ..Event::warning(Kind::EtcdUnwell, format!("etcd member {one}"))
            });
        }
    }
}
