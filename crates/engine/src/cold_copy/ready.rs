//! What must be true before a member is stopped: the night, the turn, the health of the other members, the lock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_etcd::client::Client;
use nightshift_etcd::service::ServiceControl;
use nightshift_etcd::stopped::Data;
use tokio::time::sleep;

use super::Host;
use super::frame::{HelperReply, Request};
use super::health::{Survey, survey};
use super::lock::{Lock, LockError};
use super::marker::StateDirectory;
use super::quorum::{permit, turn};
use super::recover::start_marked;
use super::tally::{count, require_fewer};

/// The timeout of one request to the leader.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const LEADER_MOVE_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// A survey that is older is repeated before the stop.
const MAX_STATUS_AGE: Duration = Duration::from_secs(10);

/// Everything that is needed to stop the member.
#[derive(Debug)]
pub struct Ready {
    pub state: StateDirectory,
    pub survey: Survey,
    pub data: Data,
    /// `None` in a cluster of one, which has no other member to keep it alive.
    pub lock: Option<Lock>,
}

/// Checks everything, and gets the lock. The error is the reply to the daemon.
pub async fn prepare<S: ServiceControl>(host: &Host<S>, request: &Request) -> Result<Ready, HelperReply> {
    let refused = |reason: String| HelperReply::Refused { reason };
    // Root stops nothing for any other night.
    if !host.window.is_current(request.night, Timestamp::now()) {
        return Err(refused(format!("night {} is not tonight", request.night)));
    }
    let state = StateDirectory::lock(&host.state).map_err(|error| refused(chain(&error)))?;
    let Some(state) = state else {
        return Err(HelperReply::Busy { reason: "another cold copy of this member is running".to_owned() });
    };
    if start_marked::<S>(&state).await.map_err(|error| refused(chain(&error)))?.is_some() {
        return Err(refused(
            "an earlier cold copy was interrupted and had left the member stopped; it is being started"
                .to_owned(),
        ));
    }
    let data = Data::open(host.local.data_dir.as_deref()).map_err(|error| refused(chain(&error)))?;
    let first = survey(&host.local).await.map_err(|error| refused(chain(&error)))?;
    if first.cluster_id != request.cluster_id {
        let reason = format!("this member is in cluster {}, not in {}", first.cluster_id, request.cluster_id);
        return Err(refused(reason));
    }
    match turn(&first.members, request.night) {
        Some(tonight) if tonight.id == first.own => {}
        Some(tonight) => return Err(HelperReply::NotMyTurn { member: tonight.label.clone() }),
        None => return Err(refused("the cluster has no voting member".to_owned())),
    }
    permit(&first.members, first.own).map_err(|refusal| refused(refusal.to_string()))?;
    // Before the leader is moved, so that a refused request changes nothing.
    require_fewer(state.path(), request.night).map_err(|error| refused(chain(&error)))?;
    let (survey, lock) = under_lock(host, request.night, first).await?;
    let mut ready = Ready { state, survey, data, lock };
    match ready.check_again(host, request.night).await {
        Ok(()) => Ok(ready),
        Err(reason) => {
            if let Some(lock) = ready.lock {
                lock.release().await;
            }
            Err(refused(reason))
        }
    }
}

impl Ready {
    /// Right before the stop, because the survey may be old: the others are still healthy, the data directory is that of the
    /// running member, and the lock is not lost.
    async fn check_again<S>(&mut self, host: &Host<S>, night: Night) -> Result<(), String> {
        if self.survey.at.elapsed() > MAX_STATUS_AGE {
            self.survey = survey(&host.local).await.map_err(|error| chain(&error))?;
            permit(&self.survey.members, self.survey.own).map_err(|refusal| refusal.to_string())?;
            if self.survey.is_leader && self.lock.is_some() {
                return Err("this member has become the leader, so it is not stopped".to_owned());
            }
        }
        self.data.require_in_use().map_err(|error| chain(&error))?;
        count(self.state.path(), night).map_err(|error| chain(&error))?;
        match &mut self.lock {
            Some(lock) => lock.renew().await.map_err(|error| chain(&error)),
            None => Ok(()),
        }
    }
}

/// Gets the lock, and checks again what it protects. If that fails, the lock is released.
async fn under_lock<S: ServiceControl>(
    host: &Host<S>,
    night: Night,
    first: Survey,
) -> Result<(Survey, Option<Lock>), HelperReply> {
    let refused = |reason: String| HelperReply::Refused { reason };
    if first.members.iter().all(|member| member.id == first.own) {
        return Ok((first, None));
    }
    let lock = match Lock::get(first.clients(), &format!("{} {night}", host.this)).await {
        Ok(lock) => lock,
        Err(error @ LockError::Held(_)) => return Err(HelperReply::Busy { reason: chain(&error) }),
        Err(error) => return Err(refused(chain(&error))),
    };
    // The previous owner of the lock may have left a member that is not back yet.
    let checked = async {
        let again = survey(&host.local).await.map_err(|error| chain(&error))?;
        permit(&again.members, again.own).map_err(|refusal| refusal.to_string())?;
        if again.is_leader { move_leader(host, again).await } else { Ok(again) }
    };
    match checked.await {
        Ok(survey) => Ok((survey, Some(lock))),
        Err(reason) => {
            lock.release().await;
            Err(refused(reason))
        }
    }
}

/// Makes another member the leader: a stop of the leader would stop the whole cluster until the next election.
async fn move_leader<S>(host: &Host<S>, leading: Survey) -> Result<Survey, String> {
    let cannot = "this member is the leader and cannot make another one the leader (etcd can from 3.3), so it is not stopped";
    let newest = leading.others().max_by_key(|(_, _, raft_index)| *raft_index);
    let (target, ..) = newest.ok_or_else(|| cannot.to_owned())?;
    let client = Client::connect(&host.local, REQUEST_TIMEOUT).await.map_err(|error| chain(&error))?;
    client.move_leader(target).await.map_err(|error| format!("{cannot}: {}", chain(&error)))?;
    tracing::info!("this member was the leader, and has made {target} the leader");
    let until = Instant::now() + LEADER_MOVE_TIMEOUT;
    loop {
        let survey = survey(&host.local).await.map_err(|error| chain(&error))?;
        let permitted = permit(&survey.members, survey.own);
        match permitted {
            Ok(()) if !survey.is_leader => return Ok(survey),
            Err(refusal) if Instant::now() >= until => return Err(refusal.to_string()),
            Ok(()) if Instant::now() >= until => return Err(cannot.to_owned()),
            _ => sleep(POLL_INTERVAL).await,
        }
    }
}
