//! Many peers in parallel, each polled with a growing backoff until it has what the stage waits for, at most until the stage has
//! to end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use nightshift_core::backoff;
use nightshift_core::inventory::Host;
use tokio::time::Instant;

use crate::context::StageContext;

/// The wait before a peer is polled again; it grows to ten times this.
const INITIAL_BACKOFF: Duration = Duration::from_secs(6);

const NOT_REACHED: &str = "not reached before `until`, because other hosts used all connections";

/// The result of polling a peer once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled<T> {
    Ready(T),
    /// It has nothing yet, or something failed that may work later.
    Retry(String),
    /// Polling again is useless tonight.
    GiveUp(String),
}

/// One poll of a peer, running.
pub type Poll<'a, T> = BoxFuture<'a, Polled<T>>;

/// The peers that are not finished.
pub struct Queue<'a, T> {
    waiting: Vec<Waiting>,
    running: FuturesUnordered<BoxFuture<'a, (Waiting, Polled<T>)>>,
    /// The peers of `running`.
    polled: Vec<Arc<Host>>,
    parallel: usize,
    /// No peer is polled again after this.
    deadline: Instant,
    /// When the stage ends, whatever still runs.
    end: Instant,
    initial_backoff: Duration,
    caller: String,
}

#[derive(Debug, Clone)]
struct Waiting {
    host: Arc<Host>,
    next: Instant,
    tries: u32,
    /// Why it has nothing yet.
    reason: String,
}

impl<'a, T: Send + 'a> Queue<'a, T> {
    pub fn new(ctx: &StageContext, hosts: Vec<Arc<Host>>) -> Self {
        let now = Instant::now();
        Self {
            waiting: hosts
                .into_iter()
                .map(|host| Waiting { host, next: now, tries: 0, reason: NOT_REACHED.to_owned() })
                .collect(),
            running: FuturesUnordered::new(),
            polled: Vec::new(),
            parallel: ctx.stage_settings().parallel.max(1),
            deadline: now + ctx.time_left(),
            end: ctx.end(),
            initial_backoff: INITIAL_BACKOFF,
            caller: ctx.settings.this.to_string(),
        }
    }

    pub fn with_backoff(self, initial_backoff: Duration) -> Self {
        Self { initial_backoff, ..self }
    }

    /// Waits for the next peer that is ready, or that is given up: then the error is the reason. When the stage has to end, every
    /// waiting peer is given up with its last reason. `None` after all peers but those that are `still_polled`.
    pub async fn next(
        &mut self,
        poll: &(impl Fn(Arc<Host>) -> Poll<'a, T> + Sync),
    ) -> Option<(Arc<Host>, Result<T, String>)> {
        while !(self.waiting.is_empty() && self.running.is_empty()) {
            if Instant::now() >= self.end {
                return self.waiting.pop().map(|peer| (peer.host, Err(peer.reason)));
            }
            while self.running.len() < self.parallel
                && let Some(mut due) = self.take_due()
            {
                due.tries += 1;
                self.polled.push(Arc::clone(&due.host));
                let polling = poll(Arc::clone(&due.host));
                self.running.push(async move { (due, polling.await) }.boxed());
            }
            let slot_free = self.running.len() < self.parallel;
            let next = self.waiting.iter().map(|waiting| waiting.next).min().filter(|_| slot_free);
            tokio::select! {
                Some((peer, polled)) = self.running.next() => {
                    self.polled.retain(|host| host.name != peer.host.name);
                    match polled {
                        Polled::Ready(value) => return Some((peer.host, Ok(value))),
                        Polled::GiveUp(reason) => return Some((peer.host, Err(reason))),
                        Polled::Retry(reason) => if let Some(reason) = self.put_back(&peer, reason) {
                            return Some((peer.host, Err(reason)));
                        },
                    }
                }
                () = tokio::time::sleep_until(self.end) => {}
                () = sleep_until(next) => {}
            }
        }
        None
    }

    /// The peers whose polls still run after the stage had to end.
    pub fn still_polled(&self) -> &[Arc<Host>] {
        &self.polled
    }

    /// The polls that still run.
    pub fn into_running(self) -> impl Iterator<Item = BoxFuture<'a, (Arc<Host>, Polled<T>)>> {
        self.running.into_iter().map(|poll| poll.map(|(peer, polled)| (peer.host, polled)).boxed())
    }

    fn take_due(&mut self) -> Option<Waiting> {
        let now = Instant::now();
        let at = self.waiting.iter().position(|waiting| waiting.next <= now)?;
        Some(self.waiting.remove(at))
    }

    /// Keeps a peer for another poll; returns the reason if that would be after the deadline.
    fn put_back(&mut self, peer: &Waiting, reason: String) -> Option<String> {
        let seed = format!("{}/{}", self.caller, peer.host.name);
        let next = Instant::now() + backoff::delay(self.initial_backoff, peer.tries, &seed);
        if next > self.deadline {
            return Some(reason);
        }
        self.waiting.push(Waiting { next, reason, ..peer.clone() });
        None
    }
}

async fn sleep_until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
