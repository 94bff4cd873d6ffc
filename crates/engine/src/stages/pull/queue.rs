//! Many peers side by side, each asked again with growing pauses until it has what is looked for.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use nightshift_core::backoff;
use nightshift_core::inventory::Host;
use nightshift_core::outcome::Grade;
use tokio::time::Instant;

use crate::context::StageContext;

/// The pause before a peer that has nothing yet is asked again; it grows to ten times this.
const FIRST_PAUSE: Duration = Duration::from_secs(6);

/// What one look at a peer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its set is in this vault; `fresh` says that it came just now.
    Held { grade: Grade, fresh: bool },
    /// It hands in none tonight, for another host's will do.
    Left,
    /// It has not published yet.
    NotYet(String),
    /// Something went wrong that may pass.
    Trouble(String),
    /// Asking again will not help tonight.
    Hopeless(String),
}

/// A look at one peer, under way.
pub type Look<'a> = BoxFuture<'a, Answer>;

/// The peers that still owe an answer.
pub struct Queue<'a> {
    waiting: Vec<Waiting<'a>>,
    running: FuturesUnordered<BoxFuture<'a, (Waiting<'a>, Answer)>>,
    parallel: usize,
    /// When asking again ends; what is under way then still runs on.
    deadline: Instant,
    first_pause: Duration,
    caller: String,
}

#[derive(Debug, Clone, Copy)]
struct Waiting<'a> {
    host: &'a Host,
    next: Instant,
    tries: u32,
}

impl<'a> Queue<'a> {
    pub fn new(ctx: &StageContext, hosts: Vec<&'a Host>) -> Self {
        let now = Instant::now();
        Self {
            waiting: hosts.into_iter().map(|host| Waiting { host, next: now, tries: 0 }).collect(),
            running: FuturesUnordered::new(),
            parallel: ctx.stage_settings().parallel.max(1),
            deadline: now + ctx.patience(),
            first_pause: FIRST_PAUSE,
            caller: ctx.settings.this.to_string(),
        }
    }

    /// With another pause before what is not there yet is asked for again.
    pub fn paced(self, first_pause: Duration) -> Self {
        Self { first_pause, ..self }
    }

    /// The next peer that answers for good, or for which the waiting is over; everyone is asked once at
    /// least. `None` when all have answered.
    pub async fn next(
        &mut self,
        look: &(impl Fn(&'a Host) -> Look<'a> + Sync),
    ) -> Option<(&'a Host, Answer)> {
        while !(self.waiting.is_empty() && self.running.is_empty()) {
            while self.running.len() < self.parallel
                && let Some(mut due) = self.take_due()
            {
                due.tries += 1;
                let looking = look(due.host);
                self.running.push(async move { (due, looking.await) }.boxed());
            }
            let slot_free = self.running.len() < self.parallel;
            let next = self.waiting.iter().map(|waiting| waiting.next).min().filter(|_| slot_free);
            tokio::select! {
                Some((asked, answer)) = self.running.next() => {
                    if let Some(answer) = self.put_back(asked, answer) {
                        return Some((asked.host, answer));
                    }
                }
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

    /// Keeps a peer for another look, or gives its answer back as the last word.
    fn put_back(&mut self, asked: Waiting<'a>, answer: Answer) -> Option<Answer> {
        if matches!(answer, Answer::Held { .. } | Answer::Left | Answer::Hopeless(_)) {
            return Some(answer);
        }
        let seed = format!("{}/{}", self.caller, asked.host.name);
        let next = Instant::now() + backoff::delay(self.first_pause, asked.tries, &seed);
        if next > self.deadline {
            return Some(answer);
        }
        self.waiting.push(Waiting { next, ..asked });
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
