//! The daemon: load, build, ready, serve, drain. One loop receives every event; the agenda decides what follows.

mod accept;
mod actions;
mod drain;
mod nights;
mod requests;
mod signals;
mod status_line;
mod sweep;
#[cfg(test)]
mod tests;
mod tonight;
mod waiting;

use std::sync::Arc;

use nightshift_core::agenda::Event;
use nightshift_store::StoreError;
use tokio::sync::mpsc;

use crate::control::{Pending, Server, ServerError};
use crate::heartbeat::{Heartbeat, HeartbeatError};
use actions::Daemon;
pub use actions::Load;
use requests::MAX_CLIENTS;
use signals::Signals;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("the configuration is invalid:\n{0}")]
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
    Store(#[from] StoreError),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(load: Load) -> Result<(), DaemonError> {
    let settings = Arc::new(load().map_err(DaemonError::Config)?);
    if settings.roles().is_empty() {
        return Err(DaemonError::NoRole);
    }
    let mut signals = Signals::listen().map_err(DaemonError::Signals)?;
    let (requests, mut incoming) = mpsc::channel(MAX_CLIENTS);
    let mut daemon = Daemon::build(load, Arc::clone(&settings), requests).await?;
    let server = Server::bind(&settings.paths.socket())?;
    let mut heartbeat = Heartbeat::start().await?;

    daemon.begin().await;
    daemon.systemd.ready();
    serve(&mut daemon, &mut heartbeat, &server, &mut incoming, &mut signals).await;
    daemon.drain().await;
    heartbeat.stop().await?;
    Ok(())
}

async fn serve(
    daemon: &mut Daemon,
    heartbeat: &mut Heartbeat,
    server: &Server,
    incoming: &mut mpsc::Receiver<Pending>,
    signals: &mut Signals,
) {
    loop {
        daemon.notify_systemd();
        let sleep = daemon.until_wake().min(daemon.systemd.feed_every() / 2);
        tokio::select! {
            () = heartbeat.beat() => {
                daemon.turn(Event::Tick).await;
                daemon.write_hint().await;
            }
            () = tokio::time::sleep(sleep) => daemon.turn(Event::Tick).await,
            ended = daemon.supervisor.next() => daemon.ended(ended).await,
            stream = server.accept() => daemon.accept_client(stream),
            Some(pending) = incoming.recv() => daemon.respond(pending).await,
            _ = signals.hup.recv() => {
                // A signal has no response; the journal has the result.
                let _response = daemon.reload("SIGHUP").await;
            }
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
        }
    }
}
