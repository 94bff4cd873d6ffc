//! What a lock in etcd takes: leases, one transaction, and moving the lead; and whether there is a v3 key at all.
//!
//! Messages by hand from etcd's `api/etcdserverpb/rpc.proto` and `api/mvccpb/kv.proto`.

use std::time::Duration;

use futures_util::stream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::client::Client;
use crate::message::{Empty, PutRequest, RangeRequest, RangeResponse};
use crate::trouble::ClientError;

/// `Compare.target`: the revision at which the key was created; 0 where there is none.
const CREATE: i32 = 1;

/// A union of which one is set.
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

/// The answer to a grant, and to a keepalive: the same fields.
#[derive(Clone, Copy, PartialEq, Message)]
struct LeaseResponse {
    #[prost(int64, tag = "2")]
    id: i64,
    /// In seconds; 0 or less of a lease that has ended.
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
    /// Whether the v3 store holds any key.
    pub async fn has_v3_keys(&self) -> Result<bool, ClientError> {
        // From the first possible key, with no end.
        let all = RangeRequest {
            key: vec![0],
            range_end: vec![0],
            limit: 1,
            serializable: true,
            keys_only: true,
            ..RangeRequest::default()
        };
        let found: RangeResponse = self.ask("Range", "/etcdserverpb.KV/Range", all).await?;
        Ok(!found.kvs.is_empty())
    }

    /// A lease that ends by itself after `ttl`, unless it is kept alive.
    pub async fn grant_lease(&self, ttl: Duration) -> Result<i64, ClientError> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let granted: LeaseResponse =
            self.ask("LeaseGrant", "/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl }).await?;
        Ok(granted.id)
    }

    /// False where the lease has ended.
    pub async fn keep_lease(&self, id: i64) -> Result<bool, ClientError> {
        let call = "LeaseKeepAlive";
        let kept = async {
            let mut grpc = self.ready().await?;
            let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
            let once = stream::iter([LeaseId { id }]);
            let answers = grpc.streaming(Request::new(once), path, ProstCodec::default()).await?;
            answers.into_inner().message().await
        };
        let answer: Option<LeaseResponse> = timeout(self.patience(), kept)
            .await
            .map_err(|_| self.timed_out(call))?
            .map_err(|status| self.failed(call, status))?;
        Ok(answer.is_some_and(|answer| answer.ttl > 0))
    }

    /// Ends a lease, and with it every key that hangs on it.
    pub async fn revoke_lease(&self, id: i64) -> Result<(), ClientError> {
        let revoked: Result<Empty, _> =
            self.ask("LeaseRevoke", "/etcdserverpb.Lease/LeaseRevoke", LeaseId { id }).await;
        revoked.map(drop)
    }

    /// Puts a key that hangs on a lease, if it is not there yet; else gives what it holds.
    pub async fn claim(&self, key: &str, value: &str, lease: i64) -> Result<Result<(), String>, ClientError> {
        let key = key.as_bytes().to_vec();
        let put = PutRequest { key: key.clone(), value: value.as_bytes().to_vec(), lease };
        let range = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let txn = TxnRequest {
            compare: vec![Compare { result: 0, target: CREATE, key, create_revision: Some(0) }],
            success: vec![RequestOp { put: Some(put), range: None }],
            failure: vec![RequestOp { range: Some(range), put: None }],
        };
        let answer: TxnResponse = self.ask("Txn", "/etcdserverpb.KV/Txn", txn).await?;
        if answer.succeeded {
            return Ok(Ok(()));
        }
        let held = answer.responses.into_iter().filter_map(|op| op.range).flat_map(|range| range.kvs).next();
        Ok(Err(held.map_or_else(String::new, |held| String::from_utf8_lossy(&held.value).into_owned())))
    }

    /// Asked of the leader, which hands the lead to this member. etcd has it from 3.3 on.
    pub async fn move_leader(&self, target: u64) -> Result<(), ClientError> {
        let path = "/etcdserverpb.Maintenance/MoveLeader";
        let moved: Result<Empty, _> = self.ask("MoveLeader", path, MoveLeaderRequest { target }).await;
        moved.map(drop)
    }
}
