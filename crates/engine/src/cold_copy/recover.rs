//! Starts a member that a cold copy left stopped: after a helper that was interrupted, and at boot.

use std::path::Path;
use std::time::Duration;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::role::Role;
use nightshift_etcd::service::{ServiceControl, ServiceError};
use nightshift_etcd::stopped::accepts_connections;
use tokio::time::{Instant, sleep};

use super::marker::{Marker, MarkerError, StateDirectory};
use crate::audit::Audit;

/// How long a helper that is ending may keep the directory locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the member may take to listen. After a failure systemd starts the unit again, until it succeeds.
const START_TIMEOUT: Duration = Duration::from_secs(40);
/// A member that is stopping, or that cannot run, may still listen for a moment.
const SETTLE_TIME: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Marker(#[from] MarkerError),
    #[error("a cold copy is running")]
    Running,
    #[error("a cold copy left etcd member {member} stopped, and it cannot be started; start it by hand")]
    NotStarted { member: String, source: ServiceError },
    #[error(
        "a cold copy left etcd member {member} stopped; it was started, but nothing listens at {endpoint} yet"
    )]
    NotListening { member: String, endpoint: String },
}

/// Starts the member in the marker, and removes the marker when the member listens. Returns the member's name, if there was a
/// marker. No configuration is needed.
pub async fn recover<S: ServiceControl>(directory: &Path) -> Result<Option<String>, RecoverError> {
    let state = lock(directory).await?;
    let Some(marker) = start_marked::<S>(&state).await? else { return Ok(None) };
    if !is_listening(&marker.endpoint, START_TIMEOUT, SETTLE_TIME).await {
        // The marker stays, so that the next run starts the member again.
        return Err(RecoverError::NotListening { member: marker.member, endpoint: marker.endpoint });
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

async fn lock(directory: &Path) -> Result<StateDirectory, RecoverError> {
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match StateDirectory::lock(directory)? {
            Some(state) => return Ok(state),
            None if Instant::now() >= until => return Err(RecoverError::Running),
            None => sleep(POLL_INTERVAL).await,
        }
    }
}

/// Whether the member accepts a connection within a time, and another one after it has settled.
async fn is_listening(endpoint: &str, within: Duration, settle: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        if accepts_connections(endpoint).await {
            sleep(settle).await;
            if accepts_connections(endpoint).await {
                return true;
            }
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Requests the start of the member in the marker, if there is one. The marker stays.
pub(super) async fn start_marked<S: ServiceControl>(
    state: &StateDirectory,
) -> Result<Option<Marker<S>>, RecoverError> {
    let Some(marker) = state.read::<S>()? else { return Ok(None) };
    let started = marker.service.start().await;
    // After the start, because writing to the journal may block.
    tracing::warn!("etcd member {} was left stopped by a cold copy of night {}", marker.member, marker.night);
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
    async fn only_a_member_that_accepts_connections_counts_as_running() {
        let (listener, endpoint) = listening();
        assert!(is_listening(&endpoint, SHORT, SHORT).await);
        drop(listener);
        // One that refuses, one that cannot be reached, one that cannot be resolved, and one that is not an address.
        for endpoint in
            [endpoint.as_str(), "http://255.255.255.255:2379", "http://none.invalid:2379", "nowhere"]
        {
            assert!(!is_listening(endpoint, SHORT, SHORT).await, "{endpoint}");
        }
    }

    #[tokio::test]
    async fn a_member_that_stops_a_moment_later_does_not_count_as_running() {
        let (listener, endpoint) = listening();
        let ending = std::thread::spawn(move || drop((listener.accept().unwrap(), listener)));
        assert!(!is_listening(&endpoint, SHORT, SHORT).await);
        ending.join().unwrap();
    }
}
