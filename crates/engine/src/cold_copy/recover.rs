//! A member that was left stopped is started again: after a helper that ended early, and at boot.

use std::path::Path;
use std::time::Duration;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::role::Role;
use tokio::time::{Instant, sleep};

use super::marker::{Marker, MarkerError, State};
use crate::audit::Audit;
use nightshift_etcd::service::{Runs, ServiceError};
use nightshift_etcd::stopped::takes_connections;

/// How long a helper that is ending may still hold the marker.
const HELD: Duration = Duration::from_secs(10);
/// How long it is watched for before it is asked to start again: the unit is tried until this succeeds.
const SEEN: Duration = Duration::from_secs(40);
/// A member that is ending still listens for a moment, and one that cannot run does so for a moment too.
const SETTLED: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Marker(#[from] MarkerError),
    #[error("a cold copy is being taken just now")]
    Held,
    #[error("the etcd member {member} was left stopped and cannot be started; start it by hand")]
    NotStarted { member: String, source: ServiceError },
    #[error(
        "the etcd member {member} was left stopped and was started, but nothing listens at {endpoint} yet"
    )]
    NotSeen { member: String, endpoint: String },
}

/// Starts the member that the marker names, and removes that once the member was seen to listen. Gives the member's name,
/// if one was left stopped. It needs no config.
pub async fn recover<S: Runs>(folder: &Path) -> Result<Option<String>, RecoverError> {
    let state = hold(folder).await?;
    let Some(marker) = start_marked::<S>(&state).await? else { return Ok(None) };
    if !comes_to_stay(&marker.endpoint, SEEN, SETTLED).await {
        // The marker stays: whoever comes next starts it again.
        return Err(RecoverError::NotSeen { member: marker.member, endpoint: marker.endpoint });
    }
    state.clear()?;
    let message = format!("etcd member {} was left stopped by a cold copy, and runs again", marker.member);
    Audit::new(marker.cluster, marker.host).emit(&Event {
        night: Some(marker.night),
        role: Some(Role::Etcd),
        outcome: Some("interrupted"),
        ..Event::warning(Kind::MemberStarted, message)
    });
    Ok(Some(marker.member))
}

async fn hold(folder: &Path) -> Result<State, RecoverError> {
    let until = Instant::now() + HELD;
    loop {
        match State::hold(folder)? {
            Some(state) => return Ok(state),
            None if Instant::now() >= until => return Err(RecoverError::Held),
            None => sleep(LOOK_EVERY).await,
        }
    }
}

/// Whether it takes a connection within a while, and another one after that.
async fn comes_to_stay(endpoint: &str, within: Duration, settled: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        if takes_connections(endpoint).await {
            sleep(settled).await;
            if takes_connections(endpoint).await {
                return true;
            }
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Asks for the start of what the marker names, if there is one. The marker stays.
pub(super) async fn start_marked<S: Runs>(state: &State) -> Result<Option<Marker<S>>, RecoverError> {
    let Some(marker) = state.read::<S>()? else { return Ok(None) };
    let started = marker.service.start().await;
    // Only now: a journal that is stuck keeps whoever writes to it waiting.
    tracing::warn!("etcd member {} was left stopped in the night {}", marker.member, marker.night);
    match started {
        Ok(()) => Ok(Some(marker)),
        Err(source) => Err(RecoverError::NotStarted { member: marker.member, source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::net::TcpListener;

    use super::*;

    const SHORT: Duration = Duration::from_millis(400);

    fn listening() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        (listener, endpoint)
    }

    #[tokio::test]
    async fn only_a_member_that_takes_connections_runs() {
        let (listener, endpoint) = listening();
        assert!(comes_to_stay(&endpoint, SHORT, SHORT).await);
        drop(listener);
        // Neither what refuses, nor what cannot be reached at all, nor what is no address.
        for endpoint in
            [endpoint.as_str(), "http://255.255.255.255:2379", "http://none.invalid:2379", "nowhere"]
        {
            assert!(!comes_to_stay(endpoint, SHORT, SHORT).await, "{endpoint}");
        }
    }

    #[tokio::test]
    async fn a_member_that_is_gone_a_moment_later_does_not_run() {
        let (listener, endpoint) = listening();
        let ending = std::thread::spawn(move || drop((listener.accept().unwrap(), listener)));
        assert!(!comes_to_stay(&endpoint, SHORT, SHORT).await);
        ending.join().unwrap();
    }
}
