//! One cold copy at a time in a cluster: a key in etcd itself that hangs on a lease, kept alive through the other members,
//! for this one is going to be stopped.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::select_ok;
use tokio::time::{Instant, sleep_until};

use nightshift_etcd::{Client, ClientError};

const KEY: &str = "/nightshift/cold-copy-lock";
/// How long it outlives a holder that is no more.
const TTL: Duration = Duration::from_secs(60);
const RENEW: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{0} has the lock {KEY} in etcd: another cold copy is being taken")]
    Held(String),
    #[error("the lock {KEY} in etcd cannot be taken")]
    NotTaken(#[source] ClientError),
    #[error("the lock {KEY} in etcd was lost: its lease has ended")]
    Ended,
    #[error("the lock {KEY} in etcd could not be kept alive: none of the other members renews it")]
    NotKept(#[source] Option<ClientError>),
}

#[derive(Debug)]
pub struct Lock {
    others: Vec<Client>,
    lease: i64,
    renewed: Instant,
}

impl Lock {
    /// Takes it through the first of the others that answers.
    pub async fn take(others: Vec<Client>, holder: &str) -> Result<Self, LockError> {
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
                // It may have been taken all the same, so its lease is ended.
                Err(error) => {
                    lock.release().await;
                    Err(LockError::NotTaken(error))
                }
            };
        }
        match refused {
            Some(error) => Err(LockError::NotTaken(error)),
            None => Err(LockError::NotKept(None)),
        }
    }

    /// Keeps it alive, and returns only when it is lost.
    pub async fn keep(&mut self) -> Result<Infallible, LockError> {
        loop {
            sleep_until(self.renewed + RENEW).await;
            self.renew().await?;
        }
    }

    /// Asks all the others at once; the first answer counts. One without a leader gives none. Where nobody answers the
    /// cluster is in need of this member, so there is no second round.
    pub async fn renew(&mut self) -> Result<(), LockError> {
        if self.others.is_empty() {
            return Err(LockError::NotKept(None));
        }
        let asked = Instant::now();
        match select_ok(self.others.iter().map(|other| Box::pin(other.keep_lease(self.lease)))).await {
            Ok((true, _)) => {
                self.renewed = asked;
                Ok(())
            }
            Ok((false, _)) => Err(LockError::Ended),
            Err(error) => Err(LockError::NotKept(Some(error))),
        }
    }

    /// Lets the next one have it. What fails here ends by itself with the lease.
    pub async fn release(self) {
        for other in &self.others {
            if other.revoke_lease(self.lease).await.is_ok() {
                return;
            }
        }
        tracing::warn!(
            "the lock {KEY} in etcd could not be given back: it ends by itself within {} s",
            TTL.as_secs()
        );
    }
}
