//! What is to be seen of etcd from here before anything is taken: this host's member, the others, their certificates.

use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::role::Role;

use super::Error;
use crate::context::StageContext;
use nightshift_etcd as etcd;
use nightshift_etcd::{Client, Cluster, Complaint, Concern, LocalMember, Member};
use nightshift_store::offload;

/// How long one question to the member may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Sight {
    pub client: Client,
    pub member: Member,
    /// This member's id, as etcd has it.
    pub id: u64,
    /// `None` where the member does not tell who else there is: a learner, or one without a leader.
    pub cluster: Option<Cluster>,
    /// What speaks against this member's certificates, and against the other members.
    pub concerns: Vec<Concern>,
}

impl Sight {
    pub async fn of(local: &LocalMember) -> Result<Self, Error> {
        let client = Client::connect(local, PATIENCE).await?;
        let member = etcd::examine(&client, local).await?;
        if let Some(complaint) = member.complaints.iter().find(|c| matches!(c, Complaint::NotOwn { .. })) {
            return Err(Error::NotOwn(complaint.clone()));
        }
        // Why it could not be asked is among the member's complaints already.
        let cluster = Cluster::ask(&client, local).await.ok();
        let id = u64::from_str_radix(&member.member_id, 16).unwrap_or_default();
        let described = local.clone();
        let expiries = offload::run(move || etcd::expiries(&described)).await;
        let concerns = etcd::expiry_complaints(&expiries, Timestamp::now())
            .map(|complaint| Concern { member: member.label().to_owned(), complaint })
            .chain(cluster.iter().flat_map(|cluster| cluster.concerns(id)))
            .collect();
        Ok(Self { client, member, id, cluster, concerns })
    }

    /// Tells whoever reads the journal what is amiss, one event for each.
    pub fn report(&self, ctx: &StageContext) {
        let own = self.member.complaints.iter().cloned();
        let own = own.map(|complaint| Concern { member: self.member.label().to_owned(), complaint });
        for concern in own.chain(self.concerns.iter().cloned()) {
            ctx.tell(Event {
                role: Some(Role::Etcd),
                reason: Some(concern.complaint.to_string()),
                ..Event::warning(Kind::EtcdUnwell, format!("etcd member {concern}"))
            });
        }
    }
}
