//! The requests of a lock in etcd: leases, transactions that write an absent key, and moving the leader; and whether the store
//! contains any key.
//!
//! The messages are written by hand from etcd's `api/etcdserverpb/rpc.proto` and `api/mvccpb/kv.proto`.

use std::time::Duration;

use futures_util::stream;
use http::uri::PathAndQuery;
use nightshift_core::etcd_facts::MemberId;
use prost::Message;
use tokio::time::timeout;
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::client::Client;
use crate::error::ClientError;
use crate::message::{Empty, PutRequest, RangeRequest, RangeResponse};

/// `Compare.target`: the revision at which the key was created; 0 if it does not exist.
const CREATE: i32 = 1;

/// A union: one of both is set.
#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(message, optional, tag = "1")]
    range: Option<RangeRequest>,
    #[prost(message, optional, tag = "2")]
    put: Option<PutRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseOp {
    #[prost(message, optional, tag = "1")]
    range: Option<RangeResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct Compare {
    /// 0 is "equal".
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(int64, optional, tag = "5")]
    create_revision: Option<i64>,
}

impl Compare {
    fn is_absent(key: Vec<u8>) -> Self {
        Self { result: 0, target: CREATE, key, create_revision: Some(0) }
    }
}

#[derive(Clone, PartialEq, Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
    #[prost(message, repeated, tag = "3")]
    failure: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
struct TxnResponse {
    #[prost(bool, tag = "2")]
    succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    responses: Vec<ResponseOp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct LeaseGrantRequest {
    /// In seconds.
    #[prost(int64, tag = "1")]
    ttl: i64,
}

/// The response to a grant and to a keepalive, which have the same fields.
#[derive(Clone, Copy, PartialEq, Message)]
struct LeaseResponse {
    #[prost(int64, tag = "2")]
    id: i64,
    /// In seconds; 0 or less if the lease has expired.
    #[prost(int64, tag = "3")]
    ttl: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct LeaseId {
    #[prost(int64, tag = "1")]
    id: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct MoveLeaderRequest {
    #[prost(uint64, tag = "1")]
    target: u64,
}

impl Client {
    /// Whether the v3 store contains any key.
    pub async fn has_v3_keys(&self) -> Result<bool, ClientError> {
        // From the first possible key, without an end.
        let all = RangeRequest {
            key: vec![0],
            range_end: vec![0],
            limit: 1,
            serializable: true,
            keys_only: true,
            ..RangeRequest::default()
        };
        let found: RangeResponse = self.request("Range", "/etcdserverpb.KV/Range", all).await?;
        Ok(!found.kvs.is_empty())
    }

    /// A lease that expires after `ttl`, unless it is kept alive.
    pub async fn grant_lease(&self, ttl: Duration) -> Result<i64, ClientError> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let granted: LeaseResponse =
            self.request("LeaseGrant", "/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl }).await?;
        Ok(granted.id)
    }

    /// False if the lease has expired.
    pub async fn keep_lease(&self, id: i64) -> Result<bool, ClientError> {
        let call = "LeaseKeepAlive";
        let kept = async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
            let once = stream::iter([LeaseId { id }]);
            let responses = grpc.streaming(Request::new(once), path, ProstCodec::default()).await?;
            responses.into_inner().message().await
        };
        let response: Option<LeaseResponse> = timeout(self.timeout(), kept)
            .await
            .map_err(|_| self.timed_out(call))?
            .map_err(|status| self.failed(call, status))?;
        Ok(response.is_some_and(|response| response.ttl > 0))
    }

    /// Ends a lease, and deletes its keys.
    pub async fn revoke_lease(&self, id: i64) -> Result<(), ClientError> {
        let revoked: Result<Empty, _> =
            self.request("LeaseRevoke", "/etcdserverpb.Lease/LeaseRevoke", LeaseId { id }).await;
        revoked.map(drop)
    }

    /// Writes a key with a lease if it does not exist; otherwise returns its value.
    pub async fn claim(&self, key: &str, value: &str, lease: i64) -> Result<Result<(), String>, ClientError> {
        let key = key.as_bytes().to_vec();
        let put = PutRequest { key: key.clone(), value: value.as_bytes().to_vec(), lease };
        let range = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let txn = TxnRequest {
            compare: vec![Compare::is_absent(key)],
            success: vec![RequestOp { put: Some(put), range: None }],
            failure: vec![RequestOp { range: Some(range), put: None }],
        };
        let response: TxnResponse = self.request("Txn", "/etcdserverpb.KV/Txn", txn).await?;
        if response.succeeded {
            return Ok(Ok(()));
        }
        let existing =
            response.responses.into_iter().filter_map(|op| op.range).flat_map(|range| range.kvs).next();
        Ok(Err(existing.map_or_else(String::new, |kv| String::from_utf8_lossy(&kv.value).into_owned())))
    }

    /// Writes a key if it does not exist, in one transaction. False if it exists.
    pub async fn put_if_absent(&self, key: &[u8], value: &[u8]) -> Result<bool, ClientError> {
        let put = PutRequest { key: key.to_vec(), value: value.to_vec(), lease: 0 };
        let txn = TxnRequest {
            compare: vec![Compare::is_absent(key.to_vec())],
            success: vec![RequestOp { put: Some(put), range: None }],
            failure: Vec::new(),
        };
        let response: TxnResponse = self.request("Txn", "/etcdserverpb.KV/Txn", txn).await?;
        Ok(response.succeeded)
    }

    /// Makes the leader, which must be the member of this client, pass its role to `target`. From etcd 3.3.
    pub async fn move_leader(&self, target: MemberId) -> Result<(), ClientError> {
        let path = "/etcdserverpb.Maintenance/MoveLeader";
        let moved: Result<Empty, _> =
            self.request("MoveLeader", path, MoveLeaderRequest { target: target.0 }).await;
        moved.map(drop)
    }
}
