//! What has to be right before a member is stopped: the night, whose turn it is, the others, the lock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::night::{Night, NightWindow};
use tokio::time::sleep;

use super::Host;
use super::frame::{Request, Said};
use super::health::{Survey, survey};
use super::lock::{Lock, LockError};
use super::marker::State;
use super::quorum::{permit, turn};
use super::recover::start_marked;
use super::tally::count;
use nightshift_etcd::Client;
use nightshift_etcd::service::Runs;
use nightshift_etcd::stopped::Data;

/// One question to the member that leads.
const PATIENCE: Duration = Duration::from_secs(30);
const LEAD_MOVED: Duration = Duration::from_secs(15);
/// What was seen of the members longer ago is looked at again before a stop.
const FRESH: Duration = Duration::from_secs(10);

/// Everything that is needed before anything is stopped.
#[derive(Debug)]
pub struct Ready {
    pub state: State,
    pub survey: Survey,
    pub data: Data,
    /// None in a cluster of one, which has no other to hold it.
    pub lock: Option<Lock>,
}

/// Looks at everything, and takes the lock; what is in the way is the answer.
pub async fn prepare<S: Runs>(host: &Host<S>, request: &Request) -> Result<Ready, Said> {
    let refused = |reason: String| Said::Refused { reason };
    if !is_tonight(&host.window, request.night) {
        return Err(refused(format!("{} is not tonight", request.night)));
    }
    let state = State::hold(&host.state).map_err(|error| refused(chain(&error)))?;
    let Some(state) = state else {
        return Err(Said::Busy { reason: "another cold copy of this member is being taken".to_owned() });
    };
    if start_marked::<S>(&state).await.map_err(|error| refused(chain(&error)))?.is_some() {
        return Err(refused(
            "the member was left stopped by an earlier cold copy, and is started now".to_owned(),
        ));
    }
    let data = Data::open(host.local.data_dir.as_deref()).map_err(|error| refused(chain(&error)))?;
    let first = survey(&host.local).await.map_err(|error| refused(chain(&error)))?;
    if first.cluster_id != request.cluster_id {
        let reason =
            format!("this member is of the cluster {}, not {}", first.cluster_id, request.cluster_id);
        return Err(refused(reason));
    }
    match turn(&first.members, request.night) {
        Some(tonight) if tonight.id == first.own => {}
        Some(tonight) => return Err(Said::NotMyTurn { member: tonight.called() }),
        None => return Err(refused("the cluster lists no voting member".to_owned())),
    }
    permit(&first.members, first.own).map_err(|refusal| refused(refusal.to_string()))?;
    let (survey, lock) = under_lock(host, request.night, first).await?;
    let mut ready = Ready { state, survey, data, lock };
    match ready.last_look(host, request.night).await {
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
    /// Right before the stop, for what was seen may be old: the others are still well, the data is
    /// the running member's, and the lock is still held.
    async fn last_look<S>(&mut self, host: &Host<S>, night: Night) -> Result<(), String> {
        if self.survey.at.elapsed() > FRESH {
            self.survey = survey(&host.local).await.map_err(|error| chain(&error))?;
            permit(&self.survey.members, self.survey.own).map_err(|refusal| refusal.to_string())?;
            if self.survey.leads && self.lock.is_some() {
                return Err("this member has come to lead, so it is left running".to_owned());
            }
        }
        self.data.demand_in_use().map_err(|error| chain(&error))?;
        count(self.state.folder(), night).map_err(|error| chain(&error))?;
        match &mut self.lock {
            Some(lock) => lock.renew().await.map_err(|error| chain(&error)),
            None => Ok(()),
        }
    }
}

/// With the lock, which is given back if what it protects is in the way.
async fn under_lock<S: Runs>(
    host: &Host<S>,
    night: Night,
    first: Survey,
) -> Result<(Survey, Option<Lock>), Said> {
    let refused = |reason: String| Said::Refused { reason };
    if first.members.iter().all(|member| member.id == first.own) {
        return Ok((first, None));
    }
    let lock = match Lock::take(first.clients(), &format!("{} {night}", host.this)).await {
        Ok(lock) => lock,
        Err(error @ LockError::Held(_)) => return Err(Said::Busy { reason: chain(&error) }),
        Err(error) => return Err(refused(chain(&error))),
    };
    // Whoever held it until now may have left a member behind that is not back yet.
    let checked = async {
        let again = survey(&host.local).await.map_err(|error| chain(&error))?;
        permit(&again.members, again.own).map_err(|refusal| refusal.to_string())?;
        if again.leads { hand_over_lead(host, again).await } else { Ok(again) }
    };
    match checked.await {
        Ok(survey) => Ok((survey, Some(lock))),
        Err(reason) => {
            lock.release().await;
            Err(refused(reason))
        }
    }
}

/// Stopping the leader would stop the whole cluster for an election, so it hands over the lead first.
async fn hand_over_lead<S>(host: &Host<S>, leading: Survey) -> Result<Survey, String> {
    let cannot =
        "this member leads, and its lead cannot be handed over (etcd can from 3.3 on), so it is left running";
    let newest = leading.others.iter().max_by_key(|other| other.raft_index);
    let target = newest.ok_or_else(|| cannot.to_owned())?.id;
    let client = Client::connect(&host.local, PATIENCE).await.map_err(|error| chain(&error))?;
    client.move_leader(target).await.map_err(|error| format!("{cannot}: {}", chain(&error)))?;
    tracing::info!("this member led, and handed the lead to {target:x}");
    let until = Instant::now() + LEAD_MOVED;
    loop {
        let survey = survey(&host.local).await.map_err(|error| chain(&error))?;
        let settled = permit(&survey.members, survey.own);
        match settled {
            Ok(()) if !survey.leads => return Ok(survey),
            Err(refusal) if Instant::now() >= until => return Err(refusal.to_string()),
            Ok(()) if Instant::now() >= until => return Err(cannot.to_owned()),
            _ => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Root stops nothing for a night that is long past: a night of today, or one that opened yesterday.
fn is_tonight(window: &NightWindow, night: Night) -> bool {
    let today = Timestamp::now().to_zoned(window.zone.clone()).date();
    night.date == today || today.yesterday().is_ok_and(|yesterday| night.date == yesterday)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::ToSpan as _;
    use jiff::civil::time;
    use jiff::tz::TimeZone;

    #[test]
    fn only_tonight_is_a_night_to_stop_a_member_in() {
        let window = NightWindow { opens: time(22, 0, 0, 0), closes: time(4, 0, 0, 0), zone: TimeZone::UTC };
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        for (days, tonight) in [(-2, false), (-1, true), (0, true), (2, false)] {
            assert_eq!(is_tonight(&window, Night::of(today + days.days())), tonight, "{days}");
        }
    }
}
