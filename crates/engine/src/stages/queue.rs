//! Many peers in parallel, each polled with a growing backoff until it has what the stage waits for.

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
    waiting: Vec<Waiting<'a>>,
    running: FuturesUnordered<BoxFuture<'a, (Waiting<'a>, Polled<T>)>>,
    parallel: usize,
    /// No poll starts after this, except each peer's first; a running one is not stopped.
    deadline: Instant,
    initial_backoff: Duration,
    caller: String,
}

#[derive(Debug, Clone, Copy)]
struct Waiting<'a> {
    host: &'a Host,
    next: Instant,
    tries: u32,
}

impl<'a, T: Send + 'a> Queue<'a, T> {
    pub fn new(ctx: &StageContext, hosts: Vec<&'a Host>) -> Self {
        let now = Instant::now();
        Self {
            waiting: hosts.into_iter().map(|host| Waiting { host, next: now, tries: 0 }).collect(),
            running: FuturesUnordered::new(),
            parallel: ctx.stage_settings().parallel.max(1),
            deadline: now + ctx.time_left(),
            initial_backoff: INITIAL_BACKOFF,
            caller: ctx.settings.this.to_string(),
        }
    }

    pub fn with_backoff(self, initial_backoff: Duration) -> Self {
        Self { initial_backoff, ..self }
    }

    /// Waits for the next peer that is ready, or that is given up: then the error is the reason. `None` after all peers.
    pub async fn next(
        &mut self,
        poll: &(impl Fn(&'a Host) -> Poll<'a, T> + Sync),
    ) -> Option<(&'a Host, Result<T, String>)> {
        while !(self.waiting.is_empty() && self.running.is_empty()) {
            while self.running.len() < self.parallel
                && let Some(mut due) = self.take_due()
            {
                due.tries += 1;
                let polling = poll(due.host);
                self.running.push(async move { (due, polling.await) }.boxed());
            }
            let slot_free = self.running.len() < self.parallel;
            let next = self.waiting.iter().map(|waiting| waiting.next).min().filter(|_| slot_free);
            tokio::select! {
                Some((peer, polled)) = self.running.next() => match polled {
                    Polled::Ready(value) => return Some((peer.host, Ok(value))),
                    Polled::GiveUp(reason) => return Some((peer.host, Err(reason))),
                    Polled::Retry(reason) => if !self.put_back(peer) {
                        return Some((peer.host, Err(reason)));
                    },
                },
                () = sleep_until(next) => {}
            }
        }
        None
    }

    fn take_due(&mut self) -> Option<Waiting<'a>> {
        let now = Instant::now();
        let at = self.waiting.iter().position(|waiting| waiting.next <= now)?;
        Some(self.waiting.remove(at))
    }

    /// Keeps a peer for another poll; false if that would be after the deadline.
    fn put_back(&mut self, peer: Waiting<'a>) -> bool {
        let seed = format!("{}/{}", self.caller, peer.host.name);
        let next = Instant::now() + backoff::delay(self.initial_backoff, peer.tries, &seed);
        if next > self.deadline {
            return false;
        }
        self.waiting.push(Waiting { next, ..peer });
        true
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
