//! The notifications to systemd (sd_notify(3)): ready, the status line, the watchdog, stopping.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Notifies systemd; does nothing if the daemon was not started by it.
#[derive(Debug)]
pub struct Systemd {
    status: String,
    /// Half of WATCHDOG_USEC, so that one late turn does not restart the daemon.
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

    /// How often the watchdog is notified, if there is one.
    pub fn feed_every(&self) -> Duration {
        self.feed_every.unwrap_or(Duration::from_secs(3600))
    }

    pub fn ready(&self) {
        notify(&[NotifyState::Ready]);
    }

    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping: waiting for running stages to end")]);
    }

    /// Sends the status line if it has changed. A line break would end the assignment, so none is sent.
    pub fn status(&mut self, status: &str) {
        let line: String = status.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if line != self.status {
            notify(&[NotifyState::Status(&line)]);
            self.status = line;
        }
    }

    /// Called at each turn of the daemon's loop and nowhere else: if the loop hangs, the watchdog must restart the daemon.
    pub fn alive(&mut self) {
        let Some(every) = self.feed_every else { return };
        if self.fed.is_none_or(|fed| fed.elapsed() >= every / 2) {
            notify(&[NotifyState::Watchdog]);
            self.fed = Some(Instant::now());
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot report the daemon's state to systemd: {error}");
    }
}
