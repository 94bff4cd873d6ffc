//! One cold copy at a time in a cluster: a lock in etcd itself, which is a key with a lease. It is kept alive through the other
//! members, because this one will be stopped.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::select_ok;
use nightshift_etcd::client::Client;
use nightshift_etcd::error::ClientError;
use tokio::time::{Instant, sleep_until};

pub use nightshift_core::etcd_facts::COLD_COPY_LOCK as KEY;
/// The time after which the lock expires without its owner.
const TTL: Duration = Duration::from_secs(60);
const RENEW_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{0} has the lock {KEY} in etcd: another cold copy is running")]
    Held(String),
    #[error("cannot get the lock {KEY} in etcd")]
    NotLocked(#[source] ClientError),
    #[error("the lock {KEY} in etcd was lost: its lease has expired")]
    Expired,
    #[error("the lock {KEY} in etcd was lost: none of the other members renews it")]
    NotRenewed(#[source] Option<ClientError>),
}

#[derive(Debug)]
pub struct Lock {
    others: Vec<Client>,
    lease: i64,
    renewed: Instant,
}

impl Lock {
    /// Gets the lock through the first of the other members that responds.
    pub async fn get(others: Vec<Client>, holder: &str) -> Result<Self, LockError> {
        let renewed = Instant::now();
        let mut refused = None;
        for other in &others {
            let lease = match other.grant_lease(TTL).await {
                Ok(lease) => lease,
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            let lock = Self { others: others.clone(), lease, renewed };
            return match other.claim(KEY, holder, lease).await {
                Ok(Ok(())) => Ok(lock),
                Ok(Err(by)) => {
                    lock.release().await;
                    Err(LockError::Held(by.chars().take(200).collect()))
                }
                // The key may have been written nevertheless, so the lease is revoked.
                Err(error) => {
                    lock.release().await;
                    Err(LockError::NotLocked(error))
                }
            };
        }
        match refused {
            Some(error) => Err(LockError::NotLocked(error)),
            None => Err(LockError::NotRenewed(None)),
        }
    }

    /// Keeps the lock alive, and returns only when it is lost.
    pub async fn keep(&mut self) -> Result<Infallible, LockError> {
        loop {
            sleep_until(self.renewed + RENEW_INTERVAL).await;
            self.renew().await?;
        }
    }

    /// Sends the request to all other members at once; the first response counts. A member without a leader does not respond. If
    /// none responds, the cluster needs this member, so there is no retry.
    pub async fn renew(&mut self) -> Result<(), LockError> {
        if self.others.is_empty() {
            return Err(LockError::NotRenewed(None));
        }
        let requested = Instant::now();
        match select_ok(self.others.iter().map(|other| Box::pin(other.keep_lease(self.lease)))).await {
            Ok((true, _)) => {
                self.renewed = requested;
                Ok(())
            }
            Ok((false, _)) => Err(LockError::Expired),
            Err(error) => Err(LockError::NotRenewed(Some(error))),
        }
    }

    /// Releases the lock. If that fails, the lock expires with its lease.
    pub async fn release(self) {
        for other in &self.others {
            if other.revoke_lease(self.lease).await.is_ok() {
                return;
            }
        }
        tracing::warn!("cannot release the lock {KEY} in etcd; it expires within {} s", TTL.as_secs());
    }
}
