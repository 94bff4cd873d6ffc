//! One cold copy, from the request to the member's return. Runs as root, for one connection, and then ends.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::night::{Night, NightWindow};
use nightshift_core::role::Role;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Host;
use super::frame::{DataWriter, Request, Said, read_request, say};
use super::health::{Survey, survey, wait_back};
use super::lock::{Lock, LockError};
use super::marker::{FORMAT, Marker, MarkerError, State};
use super::pack::{PackError, pack};
use super::proof::{Data, DataError};
use super::quorum::{permit, turn};
use super::recover::start_marked;
use super::service::{Runs, ServiceError};
use crate::audit::Audit;
use crate::context::chain;
use crate::etcd::Client;
use crate::offload;

/// The daemon asks at once, and takes what is sent as fast as it compresses.
const ASKED: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(30);
/// A pod's containers are given half a minute to end, after the kubelet has noticed.
const STOPPED: Duration = Duration::from_secs(120);
const COPIED: Duration = Duration::from_secs(300);
const BACK: Duration = Duration::from_secs(150);
const LEAD_MOVED: Duration = Duration::from_secs(15);

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

/// Everything that is needed before anything is stopped.
struct Ready {
    state: State,
    survey: Survey,
    data: Data,
    /// None in a cluster of one, which has no other to hold it.
    lock: Option<Lock>,
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

/// Looks at everything, and takes the lock; what is in the way is the answer.
async fn prepare<S: Runs>(host: &Host<S>, request: &Request) -> Result<Ready, Said> {
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
    Ok(Ready { state, survey, data, lock })
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
    let client = Client::connect(&host.local, STALL).await.map_err(|error| chain(&error))?;
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
    host.tell(
        night,
        Event::info(
            Kind::MemberStopped,
            format!("etcd member {member} is stopped for a cold copy: {}", host.service.how()),
        ),
    );

    let copied = copy(host, &member, data, lock.as_mut(), line).await;
    if let Err(error) = &copied {
        tracing::error!("the cold copy of {member} failed, the member is started: {}", chain(error));
    }
    host.service.start().await.map_err(ServeError::NotStarted)?;
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
    host.tell(
        night,
        Event { duration_ms, outcome: Some(outcome), reason, ..Event::info(Kind::MemberStarted, message) },
    );
    copied.map(|()| stopped)
}

/// Stops it, proves that, and sends what it left; given up as soon as the lock is lost.
async fn copy<S: Runs>(
    host: &Host<S>,
    member: &str,
    data: Data,
    lock: Option<&mut Lock>,
    line: &Line,
) -> Result<(), ServeError> {
    let lost = Box::pin(kept(lock));
    let stopping = Box::pin(async {
        host.service.stop().await.map_err(ServeError::NotStopped)?;
        data.hold(&host.local.endpoint, STOPPED).await?;
        let said = Said::Stopped { member: member.to_owned(), how: host.service.how() };
        line.say(said).await.map_err(ServeError::Gone)
    });
    let lost = match select(stopping, lost).await {
        Either::Left((stopped, lost)) => stopped.map(|()| lost)?,
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

/// Root stops nothing for a night that is long past: a night of today, or one that opened yesterday.
fn is_tonight(window: &NightWindow, night: Night) -> bool {
    let today = Timestamp::now().to_zoned(window.zone.clone()).date();
    night.date == today || today.yesterday().is_ok_and(|yesterday| night.date == yesterday)
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

    fn tell(&self, night: Night, event: Event) {
        Audit::new(self.cluster.clone(), self.this.clone()).emit(&Event {
            night: Some(night),
            role: Some(Role::Etcd),
            ..event
        });
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
