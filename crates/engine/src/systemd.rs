//! What systemd is told: ready, the status line, the watchdog, stopping.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The line to systemd; silent where nobody listens.
#[derive(Debug)]
pub struct Systemd {
    status: String,
    /// Half of what systemd allows, so that one late turn is no death.
    feed_every: Option<Duration>,
    fed: Option<Instant>,
}

impl Systemd {
    pub fn new() -> Self {
        Self {
            status: String::new(),
            feed_every: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            fed: None,
        }
    }

    /// How often the watchdog wants to hear of us, if there is one.
    pub fn feed_every(&self) -> Duration {
        self.feed_every.unwrap_or(Duration::from_secs(3600))
    }

    pub fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    pub fn stopping(&self) {
        notify(&[
            NotifyState::Stopping,
            NotifyState::Status("draining: running stages are given time to end"),
        ]);
    }

    /// Says how it stands, if that is news. A line break would end the assignment, so none is sent.
    pub fn status(&mut self, status: &str) {
        let line: String = status.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if line != self.status {
            notify(&[NotifyState::Status(&line)]);
            self.status = line;
        }
    }

    /// Called at each turn of the supervisor, and by nothing else: a stuck loop must starve the watchdog.
    pub fn alive(&mut self) {
        let Some(every) = self.feed_every else { return };
        if self.fed.is_none_or(|fed| fed.elapsed() >= every / 2) {
            notify(&[NotifyState::Watchdog]);
            self.fed = Some(Instant::now());
        }
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot report the daemon's state to systemd: {error}");
    }
}
