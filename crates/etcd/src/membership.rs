//! Which members a cluster has: a member is removed, added, and made a voting one.

use crate::client::Client;
use crate::error::ClientError;
use crate::message::{Empty, MemberAddRequest, MemberIdRequest, MemberUpdateRequest};

impl Client {
    /// Adds a member that has not started yet. A learner, from etcd 3.4 on, does not count for the quorum until it is promoted.
    pub async fn add_member(&self, peer_urls: Vec<String>, is_learner: bool) -> Result<(), ClientError> {
        let request = MemberAddRequest { peer_urls, is_learner };
        self.request::<_, Empty>("MemberAdd", "/etcdserverpb.Cluster/MemberAdd", request).await.map(drop)
    }

    /// Gives a member other peer URLs.
    pub async fn update_member(&self, id: u64, peer_urls: Vec<String>) -> Result<(), ClientError> {
        let request = MemberUpdateRequest { id, peer_urls };
        self.request::<_, Empty>("MemberUpdate", "/etcdserverpb.Cluster/MemberUpdate", request)
            .await
            .map(drop)
    }

    pub async fn remove_member(&self, id: u64) -> Result<(), ClientError> {
        let request = MemberIdRequest { id };
        self.request::<_, Empty>("MemberRemove", "/etcdserverpb.Cluster/MemberRemove", request)
            .await
            .map(drop)
    }

    /// Makes a learner a voting member. etcd refuses it until the learner has nearly all data.
    pub async fn promote_member(&self, id: u64) -> Result<(), ClientError> {
        let request = MemberIdRequest { id };
        self.request::<_, Empty>("MemberPromote", "/etcdserverpb.Cluster/MemberPromote", request)
            .await
            .map(drop)
    }
}
