//! The daemon: load, build, ready, serve, drain. One loop receives every event; the agenda decides what follows.

mod accept;
mod actions;
mod config;
mod disk;
mod drain;
mod due_notices;
mod forget;
mod keep;
mod metrics;
mod metrics_clock;
mod night_hooks;
mod nights;
mod notices;
mod opened;
mod requests;
mod slots;
mod status_line;
mod sweep;
#[cfg(test)]
mod tests;
mod tonight;
mod waiting;

use std::sync::Arc;

use nightshift_core::agenda::Event;
use nightshift_store::StoreError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::control::{Pending, Server, ServerError};
use crate::heartbeat::{Heartbeat, HeartbeatError};
use crate::state_lock::StateLock;
pub use crate::state_lock::StateLockError;
use actions::Daemon;
pub use config::{Load, LoadedConfig};
use slots::MAX_CLIENTS;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The diagnostics of an invalid configuration.
    #[error("{0}")]
    Config(String),
    #[error("this host has no role in the cluster; add it to [hosts], or check [this-host] name")]
    NoRole,
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Heartbeat(#[from] HeartbeatError),
    #[error(transparent)]
    Control(#[from] ServerError),
    #[error(transparent)]
    State(#[from] StateLockError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(load: Load) -> Result<(), DaemonError> {
    let settings = Arc::new(config::load(&load).map_err(DaemonError::Config)?);
    if settings.roles().is_empty() {
        return Err(DaemonError::NoRole);
    }
    let listen = |kind| signal(kind).map_err(DaemonError::Signals);
    let mut hangup = listen(SignalKind::hangup())?;
    let mut stops = [listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?];
    let _lock = StateLock::take(&settings.paths.state)?;
    let (requests, mut incoming) = mpsc::channel(MAX_CLIENTS);
    let mut daemon = Daemon::build(load, Arc::clone(&settings), requests).await?;
    let server = Server::bind(&settings.paths.socket())?;
    let mut heartbeat = Heartbeat::start().await?;

    let [terminate, interrupt] = &mut stops;
    let begun = tokio::select! {
        () = daemon.begin() => true,
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if begun {
        daemon.systemd.ready();
        serve(&mut daemon, &mut heartbeat, &server, &mut incoming, &mut hangup, &mut stops).await;
    }
    daemon.drain().await;
    heartbeat.stop().await?;
    Ok(())
}

async fn serve(
    daemon: &mut Daemon,
    heartbeat: &mut Heartbeat,
    server: &Server,
    incoming: &mut mpsc::Receiver<Pending>,
    hangup: &mut Signal,
    [terminate, interrupt]: &mut [Signal; 2],
) {
    loop {
        daemon.notify_systemd();
        daemon.write_metrics_if_due();
        daemon.send_notices_if_due();
        let sleep = daemon.until_wake().min(daemon.until_notice()).min(daemon.systemd.feed_every() / 2);
        tokio::select! {
            () = heartbeat.beat() => {
                daemon.turn(Event::Tick).await;
                daemon.write_hint();
            }
            () = tokio::time::sleep(sleep) => daemon.turn(Event::Tick).await,
            ended = daemon.supervisor.next() => daemon.ended(ended).await,
            stream = server.accept() => daemon.accept_client(stream),
            Some(pending) = incoming.recv() => daemon.respond(pending).await,
            _ = hangup.recv() => {
                // A signal has no response; the journal has the result.
                let _response = daemon.reload("SIGHUP").await;
            }
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
        }
    }
}
