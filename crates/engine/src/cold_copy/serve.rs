//! One cold copy, from the request to the member's return. Runs as root, for one connection, and then ends.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use tokio::task::JoinHandle;

use super::Host;
use super::frame::{DataWriter, Request, Said, read_request, say};
use super::health::wait_back;
use super::lock::{Lock, LockError};
use super::marker::{FORMAT, Marker, MarkerError};
use super::pack::{PackError, pack};
use super::ready::{Ready, prepare};
use crate::audit::Audit;
use nightshift_etcd::service::{Runs, ServiceError};
use nightshift_etcd::stopped::{Data, DataError};
use nightshift_store::offload;

/// The daemon asks at once, and takes what is sent as fast as it compresses.
const ASKED: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(30);
/// A pod's containers are given half a minute to end, after the kubelet has noticed.
const STOPPED: Duration = Duration::from_secs(120);
const COPIED: Duration = Duration::from_secs(300);
const BACK: Duration = Duration::from_secs(150);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the request cannot be read")]
    Request(#[source] io::Error),
    #[error("the daemon no longer listens")]
    Gone(#[source] io::Error),
    #[error("the member was not stopped")]
    NotStopped(#[source] ServiceError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Marker(#[from] MarkerError),
    #[error("the copy was not done within {} s", COPIED.as_secs())]
    TooLong,
    #[error("the member cannot be started again")]
    NotStarted(#[source] ServiceError),
    #[error("the member was started, but was not seen healthy within {} s: {lacks}", BACK.as_secs())]
    NotBack { lacks: String },
}

/// Serves the connection. What it could not do is told to the daemon as well as returned.
pub async fn serve<S: Runs>(host: &Host<S>, socket: UnixStream) -> Result<(), ServeError> {
    let times = socket.set_read_timeout(Some(ASKED)).and_then(|()| socket.set_write_timeout(Some(STALL)));
    times.map_err(ServeError::Request)?;
    let line = Line(socket);
    let request = line.request().await.map_err(ServeError::Request)?;
    tracing::info!("asked for tonight's cold copy, of the night {}", request.night);
    let ready = match prepare(host, &request).await {
        Ok(ready) => ready,
        Err(said) => {
            tracing::info!("no cold copy is taken here: {said:?}");
            return line.say(said).await.map_err(ServeError::Gone);
        }
    };
    match take(host, request.night, ready, &line).await {
        Ok(stopped) => {
            let stopped_ms = u64::try_from(stopped.as_millis()).unwrap_or(u64::MAX);
            line.say(Said::Done { stopped_ms }).await.map_err(ServeError::Gone)
        }
        Err(error) => {
            // It may be the daemon that is gone.
            let _told = line.say(Said::Failed { reason: chain(&error) }).await;
            Err(error)
        }
    }
}

/// Tells the daemon that nothing can be done here at all.
pub fn refuse(mut socket: &UnixStream, reason: &str) {
    if let Err(error) = say(&mut socket, &Said::Refused { reason: reason.to_owned() }) {
        tracing::warn!("the daemon was not told: {error}");
    }
}

/// From the stop to the return. However the copy goes, the member is started.
async fn take<S: Runs>(
    host: &Host<S>,
    night: Night,
    ready: Ready,
    line: &Line,
) -> Result<Duration, ServeError> {
    let Ready { state, survey, data, mut lock } = ready;
    let member = survey.called();
    let others = survey.clients();
    state.write(&host.marker(night, &member))?;
    let began = Instant::now();
    let message = format!("etcd member {member} is stopped for a cold copy: {}", host.service.how());
    // Beside it all: a journal that is stuck keeps whoever writes to it waiting, and must keep no member stopped.
    let telling = host.tell(night, Event::info(Kind::MemberStopped, message));
    let copied = copy(host, &member, data, lock.as_mut(), line).await;
    let started = host.service.start().await;
    if let Err(error) = &copied {
        tracing::error!("the cold copy of {member} failed, the member is started: {}", chain(error));
    }
    started.map_err(ServeError::NotStarted)?;
    let back = {
        let waiting = Box::pin(wait_back(&host.local, &others, BACK));
        let keeping = Box::pin(kept(lock.as_mut()));
        match select(waiting, keeping).await {
            Either::Left((back, _)) => back,
            // It runs again: nothing hangs on the lock any more.
            Either::Right((_lost, waiting)) => waiting.await,
        }
    };
    let stopped = began.elapsed();
    back.map_err(|lacks| ServeError::NotBack { lacks })?;
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
    for told in [telling, host.tell(night, event)] {
        if let Err(error) = told.await {
            tracing::warn!("the audit could not be written: {error}");
        }
    }
    copied.map(|()| stopped)
}

/// Stops it, proves that, and sends what it left; given up as soon as the lock is lost.
async fn copy<S: Runs>(
    host: &Host<S>,
    member: &str,
    mut data: Data,
    lock: Option<&mut Lock>,
    line: &Line,
) -> Result<(), ServeError> {
    let lost = Box::pin(kept(lock));
    // A stop goes on by itself when nobody waits for it, and could land after the start: so it is waited for in any case.
    let lost = match select(Box::pin(host.service.stop()), lost).await {
        Either::Left((stopped, lost)) => stopped.map(|()| lost).map_err(ServeError::NotStopped)?,
        Either::Right((lost, stopping)) => {
            stopping.await.map_err(ServeError::NotStopped)?;
            return Err(lost);
        }
    };
    let proving = Box::pin(async {
        data.hold(&host.local.endpoint, STOPPED).await?;
        let said = Said::Stopped { member: member.to_owned(), how: host.service.how() };
        line.say(said).await.map_err(ServeError::Gone)
    });
    let lost = match select(proving, lost).await {
        Either::Left((proved, lost)) => proved.map(|()| lost)?,
        Either::Right((lost, _)) => return Err(lost),
    };
    let mut sending = line.send(data)?;
    let bounded = Box::pin(tokio::time::timeout(COPIED, &mut sending));
    let given_up = match select(bounded, lost).await {
        Either::Left((Ok(sent), _)) => {
            return sent.unwrap_or_else(|error| Err(ServeError::Gone(io::Error::other(error))));
        }
        Either::Left((Err(_), _)) => ServeError::TooLong,
        Either::Right((lost, _)) => lost,
    };
    // It ends at its next write. It holds the lock on the database, without which etcd does not start.
    line.hang_up();
    let _ended = sending.await;
    Err(given_up)
}

/// Returns only when the lock is lost.
async fn kept(lock: Option<&mut Lock>) -> ServeError {
    match lock {
        Some(lock) => match lock.keep().await {
            Ok(never) => match never {},
            Err(lost) => lost.into(),
        },
        None => std::future::pending().await,
    }
}

impl<S: Runs> Host<S> {
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

    /// Writes it to the audit on a thread of its own.
    fn tell(&self, night: Night, event: Event) -> JoinHandle<()> {
        let audit = Audit::new(self.cluster.clone(), self.this.clone());
        let event = Event { night: Some(night), role: Some(Role::Etcd), ..event };
        offload::offload(move || audit.emit(&event))
    }
}

/// The connection to the daemon. It blocks, on threads of its own.
struct Line(UnixStream);

impl Line {
    async fn request(&self) -> io::Result<Request> {
        let socket = self.0.try_clone()?;
        offload::run(move || read_request(socket)).await
    }

    async fn say(&self, said: Said) -> io::Result<()> {
        let mut socket = self.0.try_clone()?;
        offload::run(move || say(&mut socket, &said)).await
    }

    fn send(&self, data: Data) -> Result<JoinHandle<Result<(), ServeError>>, ServeError> {
        let socket = self.0.try_clone().map_err(ServeError::Gone)?;
        Ok(offload::offload(move || {
            let sent = pack(&data.folder, &data.member, DataWriter::new(&socket))?;
            let copied = sent.finish().map_err(ServeError::Gone)?;
            say(&mut &socket, &copied).and_then(|()| (&socket).flush()).map_err(ServeError::Gone)
        }))
    }

    /// Whoever writes to it is let go, with an error.
    fn hang_up(&self) {
        if let Err(error) = self.0.shutdown(Shutdown::Both) {
            tracing::warn!("the connection to the daemon cannot be closed: {error}");
        }
    }
}
