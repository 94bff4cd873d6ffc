//! One cold copy, from the request until the member is healthy again. Runs as root, for one connection, and then exits.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_etcd::service::{ServiceControl, ServiceError};
use nightshift_etcd::stopped::{Data, DataError};
use nightshift_store::offload;
use tokio::task::JoinHandle;

use super::Host;
use super::frame::{HelperReply, Request, data_writer, finish_data, read_request, write_reply};
use super::health::wait_until_healthy;
use super::lock::{Lock, LockError};
use super::marker::{FORMAT, Marker, MarkerError};
use super::pack::{PackError, pack};
use super::ready::{Ready, prepare};
use crate::audit::Audit;

/// The daemon sends its request at once, and reads the data as fast as it compresses it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A pod's containers get 30 s to stop, after the kubelet has noticed the missing manifest.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);
const COPY_TIMEOUT: Duration = Duration::from_secs(300);
const RESTART_TIMEOUT: Duration = Duration::from_secs(150);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot read the request")]
    Request(#[source] io::Error),
    #[error("the daemon closed the connection")]
    Closed(#[source] io::Error),
    #[error("cannot stop the member")]
    NotStopped(#[source] ServiceError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Marker(#[from] MarkerError),
    #[error("the copy did not finish within {} s", COPY_TIMEOUT.as_secs())]
    TimedOut,
    #[error("cannot start the member")]
    NotStarted(#[source] ServiceError),
    #[error("the member was started, but was not healthy within {} s: {reason}", RESTART_TIMEOUT.as_secs())]
    NotHealthy { reason: String },
}

/// Serves the connection. An error is sent to the daemon and returned.
pub async fn serve<S: ServiceControl>(host: &Host<S>, socket: UnixStream) -> Result<(), ServeError> {
    let timeouts = socket
        .set_read_timeout(Some(REQUEST_TIMEOUT))
        .and_then(|()| socket.set_write_timeout(Some(STALL_TIMEOUT)));
    timeouts.map_err(ServeError::Request)?;
    let daemon = DaemonConnection(socket);
    let request = daemon.request().await.map_err(ServeError::Request)?;
    tracing::info!("cold copy of night {} requested", request.night);
    let ready = match prepare(host, &request).await {
        Ok(ready) => ready,
        Err(reply) => {
            tracing::info!("no cold copy on this host: {reply:?}");
            return daemon.send(reply).await.map_err(ServeError::Closed);
        }
    };
    match copy_and_restart(host, request.night, ready, &daemon).await {
        Ok(stopped) => {
            let stopped_ms = u64::try_from(stopped.as_millis()).unwrap_or(u64::MAX);
            daemon.send(HelperReply::Done { stopped_ms }).await.map_err(ServeError::Closed)
        }
        Err(error) => {
            // The closed connection may be the error itself.
            let _sent = daemon.send(HelperReply::Failed { reason: chain(&error) }).await;
            Err(error)
        }
    }
}

/// Refuses the request because this host cannot make a cold copy at all.
pub fn refuse(mut socket: &UnixStream, reason: &str) {
    if let Err(error) = write_reply(&mut socket, &HelperReply::Refused { reason: reason.to_owned() }) {
        tracing::warn!("cannot send the refusal to the daemon: {error}");
    }
}

/// Stops the member, copies its data, and starts it, whether or not the copy succeeded.
async fn copy_and_restart<S: ServiceControl>(
    host: &Host<S>,
    night: Night,
    ready: Ready,
    daemon: &DaemonConnection,
) -> Result<Duration, ServeError> {
    let Ready { state, survey, data, mut lock } = ready;
    let member = survey.label();
    let others = survey.clients();
    state.write(&host.marker(night, &member))?;
    let began = Instant::now();
    let message = format!("etcd member {member} is stopped for a cold copy: {}", host.service.how());
    // On a thread of its own: writing to the journal may block, and must not keep a member stopped.
    let stop_logged = host.log(night, Event::info(Kind::MemberStopped, message));
    let copied = copy(host, &member, data, lock.as_mut(), daemon).await;
    let started = host.service.start().await;
    if let Err(error) = &copied {
        tracing::error!("the cold copy of {member} failed, and the member is started: {}", chain(error));
    }
    started.map_err(ServeError::NotStarted)?;
    let healthy = {
        let waiting = Box::pin(wait_until_healthy(&host.local, &others, RESTART_TIMEOUT));
        let keeping = Box::pin(lost(lock.as_mut()));
        match select(waiting, keeping).await {
            Either::Left((healthy, _)) => healthy,
            // The member runs, so the lock protects nothing any more.
            Either::Right((_lost, waiting)) => waiting.await,
        }
    };
    let stopped = began.elapsed();
    healthy.map_err(|reason| ServeError::NotHealthy { reason })?;
    state.clear()?;
    if let Some(lock) = lock {
        lock.release().await;
    }
    let duration_ms = u64::try_from(stopped.as_millis()).ok();
    let outcome = if copied.is_ok() { "done" } else { "failed" };
    let reason = copied.as_ref().err().map(|error| chain(error));
    let message = format!("etcd member {member} is back and healthy after {} s", stopped.as_secs());
    let event =
        Event { duration_ms, outcome: Some(outcome), reason, ..Event::info(Kind::MemberStarted, message) };
    for logged in [stop_logged, host.log(night, event)] {
        if let Err(error) = logged.await {
            tracing::warn!("cannot write an event to the journal: {error}");
        }
    }
    copied.map(|()| stopped)
}

/// Stops the member, proves that it is stopped, and sends its data. Aborted as soon as the lock is lost.
async fn copy<S: ServiceControl>(
    host: &Host<S>,
    member: &str,
    mut data: Data,
    lock: Option<&mut Lock>,
    daemon: &DaemonConnection,
) -> Result<(), ServeError> {
    let lost = Box::pin(lost(lock));
    // A stop continues when its future is dropped, and could happen after the start. So its end is awaited in any case.
    let lost = match select(Box::pin(host.service.stop()), lost).await {
        Either::Left((stopped, lost)) => stopped.map(|()| lost).map_err(ServeError::NotStopped)?,
        Either::Right((lost, stopping)) => {
            stopping.await.map_err(ServeError::NotStopped)?;
            return Err(lost);
        }
    };
    let proving = Box::pin(async {
        data.lock_stopped(&host.local.endpoint, STOP_TIMEOUT).await?;
        let reply = HelperReply::Stopped { member: member.to_owned(), how: host.service.how() };
        daemon.send(reply).await.map_err(ServeError::Closed)
    });
    let lost = match select(proving, lost).await {
        Either::Left((proved, lost)) => proved.map(|()| lost)?,
        Either::Right((lost, _)) => return Err(lost),
    };
    let mut sending = daemon.send_data(data)?;
    let bounded = Box::pin(tokio::time::timeout(COPY_TIMEOUT, &mut sending));
    let aborted = match select(bounded, lost).await {
        Either::Left((Ok(sent), _)) => {
            return sent.unwrap_or_else(|error| Err(ServeError::Closed(io::Error::other(error))));
        }
        Either::Left((Err(_), _)) => ServeError::TimedOut,
        Either::Right((lost, _)) => lost,
    };
    // The thread ends at its next write. Until then it has the lock on the database, without which etcd does not start.
    daemon.close();
    let _ended = sending.await;
    Err(aborted)
}

/// Returns only when the lock is lost.
async fn lost(lock: Option<&mut Lock>) -> ServeError {
    match lock {
        Some(lock) => match lock.keep().await {
            Ok(never) => match never {},
            Err(lost) => lost.into(),
        },
        None => std::future::pending().await,
    }
}

impl<S: ServiceControl> Host<S> {
    fn marker(&self, night: Night, member: &str) -> Marker<S> {
        Marker {
            format: FORMAT,
            cluster: self.cluster.clone(),
            host: self.this.clone(),
            night,
            member: member.to_owned(),
            endpoint: self.local.endpoint.clone(),
            service: self.service.clone(),
        }
    }

    fn log(&self, night: Night, event: Event) -> JoinHandle<()> {
        let audit = Audit::new(self.cluster.clone(), self.this.clone());
        let event = Event { night: Some(night), role: Some(Role::Etcd), ..event };
        offload::offload(move || audit.emit(&event))
    }
}

/// The connection to the daemon. Its methods block on threads of their own.
struct DaemonConnection(UnixStream);

impl DaemonConnection {
    async fn request(&self) -> io::Result<Request> {
        let socket = self.0.try_clone()?;
        offload::run(move || read_request(socket)).await
    }

    async fn send(&self, reply: HelperReply) -> io::Result<()> {
        let mut socket = self.0.try_clone()?;
        offload::run(move || write_reply(&mut socket, &reply)).await
    }

    fn send_data(&self, data: Data) -> Result<JoinHandle<Result<(), ServeError>>, ServeError> {
        let socket = self.0.try_clone().map_err(ServeError::Closed)?;
        Ok(offload::offload(move || {
            let sent = pack(&data.directory, &data.member, data_writer(&socket))?;
            let copied = finish_data(sent).map_err(ServeError::Closed)?;
            write_reply(&mut &socket, &copied).and_then(|()| (&socket).flush()).map_err(ServeError::Closed)
        }))
    }

    /// Makes a write to the connection fail.
    fn close(&self) {
        if let Err(error) = self.0.shutdown(Shutdown::Both) {
            tracing::warn!("cannot close the connection to the daemon: {error}");
        }
    }
}
