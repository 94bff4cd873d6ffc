//! The daemon: load, build, ready, serve, drain. One loop hears everything and decides nothing itself.

mod accept;
mod requests;
mod signals;
mod status_line;
mod sweep;
#[cfg(test)]
mod tests;
mod tonight;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::agenda::{Action, Agenda, Clock, Event as AgendaEvent, StageResult};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::outcome::Outcome;
use nightshift_core::record::{StartReason, Step};
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::clock::WallClock;
use crate::context::StageEnd;
use crate::control::{Pending, Server, ServerError, converse};
use crate::heartbeat::{Heartbeat, HeartbeatError};
use crate::hint_file;
use crate::runner;
use crate::stages::prune;
use crate::supervisor::{Ended, Supervisor};
use crate::systemd::Systemd;
use nightshift_store::offload;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, Vault};

use requests::Waiting;
use signals::Signals;
use sweep::sweep;
use tonight::{Starting, Tonight};

/// How long running stages may go on after a stop was asked for; the unit's TimeoutStopSec is longer.
const DRAIN: Duration = Duration::from_secs(60);
/// Clients that may talk at the same time.
const CLIENTS: usize = 32;

/// Loads the config anew; an error is the diagnostics as a person reads them.
pub type Load = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("the config is refused:\n{0}")]
    Config(String),
    #[error("this host has no role in the cluster: there is nothing to do")]
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

/// What the supervisor runs for the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Stage(Stage),
    Client(u64),
    /// Removes what the policy drops at the night's opening.
    Room,
}

#[derive(Debug)]
enum TaskEnd {
    Stage(StageEnd),
    Client,
    Room,
}

struct Daemon {
    load: Load,
    settings: Arc<Settings>,
    agenda: Agenda,
    tonight: Option<Tonight>,
    supervisor: Supervisor<Task, TaskEnd>,
    records: Records,
    audit: Audit,
    systemd: Systemd,
    clock: WallClock,
    wake: Timestamp,
    waiting: Vec<Waiting>,
    clients: u64,
    requests: mpsc::Sender<Pending>,
}

/// Runs until it is told to stop.
pub async fn run(load: Load) -> Result<(), DaemonError> {
    let settings = Arc::new(load().map_err(DaemonError::Config)?);
    if settings.roles().is_empty() {
        return Err(DaemonError::NoRole);
    }
    let mut signals = Signals::listen().map_err(DaemonError::Signals)?;
    let (requests, mut incoming) = mpsc::channel(CLIENTS);
    let mut daemon = Daemon::build(load, settings, requests).await?;
    let server = Server::bind(&daemon.settings.paths.socket())?;
    let mut heartbeat = Heartbeat::start().await?;

    daemon.begin().await;
    daemon.systemd.ready();
    daemon.serve(&mut heartbeat, &server, &mut incoming, &mut signals).await;
    daemon.drain().await;
    heartbeat.stop().await?;
    Ok(())
}

impl Daemon {
    async fn build(
        load: Load,
        settings: Arc<Settings>,
        requests: mpsc::Sender<Pending>,
    ) -> Result<Self, DaemonError> {
        let records = Records::new(settings.paths.records());
        let audit = Audit::new(settings.cluster.clone(), settings.this.clone());
        let newest = records.newest()?;
        let open = newest.as_ref().filter(|record| record.closed.is_none()).map(|record| record.night);
        sweep(Arc::clone(&settings), open, &audit).await;
        let agenda = Agenda::new(Arc::clone(&settings), newest.as_ref());
        let tonight = match open {
            Some(night) => Some(Tonight::resume(night, &settings, &records, audit.clone())?),
            None => None,
        };
        Ok(Self {
            clock: WallClock::new(settings.trust_clock),
            wake: Timestamp::now(),
            waiting: Vec::new(),
            clients: 0,
            load,
            settings,
            agenda,
            tonight,
            supervisor: Supervisor::new(),
            records,
            audit,
            systemd: Systemd::new(),
            requests,
        })
    }

    /// Says what it found, closes what a crash left open, and takes up the schedule.
    async fn begin(&mut self) {
        self.audit.emit(&Event::info(
            Kind::DaemonStarted,
            format!(
                "nightshift {} holds the schedule of {} ({})",
                env!("CARGO_PKG_VERSION"),
                self.settings.this,
                self.settings.roles()
            ),
        ));
        if let Some(tonight) = &self.tonight {
            for (stage, attempt) in tonight.cut_short() {
                let step = Step::Ended {
                    stage,
                    attempt,
                    outcome: Outcome::Interrupted,
                    reason: Some("the daemon ended in the middle of it".to_owned()),
                    duration_ms: 0,
                };
                tonight.note(step).await;
            }
        }
        self.turn(AgendaEvent::Tick).await;
    }

    async fn serve(
        &mut self,
        heartbeat: &mut Heartbeat,
        server: &Server,
        incoming: &mut mpsc::Receiver<Pending>,
        signals: &mut Signals,
    ) {
        loop {
            self.systemd.alive();
            let line = self.status_line();
            self.systemd.status(&line);
            let sleep = self.until_wake().min(self.systemd.feed_every() / 2);
            tokio::select! {
                () = heartbeat.beat() => {
                    self.turn(AgendaEvent::Tick).await;
                    self.write_hint().await;
                }
                () = tokio::time::sleep(sleep) => self.turn(AgendaEvent::Tick).await,
                ended = self.supervisor.next() => self.ended(ended).await,
                stream = server.accept() => self.greet(stream),
                Some(pending) = incoming.recv() => self.answer(pending).await,
                _ = signals.hup.recv() => {
                    // Nobody waits for this answer; the journal has it.
                    let _told = self.reload("SIGHUP").await;
                }
                _ = signals.term.recv() => return,
                _ = signals.int.recv() => return,
            }
        }
    }

    fn night(&self) -> Option<Night> {
        self.agenda.night().map(|plan| plan.night)
    }

    fn until_wake(&self) -> Duration {
        self.wake.duration_since(Timestamp::now()).try_into().unwrap_or_default()
    }

    /// Asks the agenda, and does what it says.
    async fn turn(&mut self, event: AgendaEvent) {
        let clock = self.clock.read().await;
        let actions = self.agenda.step(clock, event);
        self.act(actions, clock).await;
    }

    async fn act(&mut self, actions: Vec<Action>, clock: Clock) {
        for action in actions {
            match action {
                Action::Open(plan) => {
                    self.open(plan).await;
                    self.make_room(clock);
                }
                Action::Start { stage, attempt, why, until } => self.start(stage, attempt, why, until).await,
                Action::Stop { stage } => self.supervisor.stop(&Task::Stage(stage)),
                Action::Miss { stage, reason } => self.miss(stage, reason).await,
                Action::Close => self.close().await,
                Action::Doubt { reason } => {
                    self.audit.emit(&Event {
                        reason: Some(reason.clone()),
                        ..Event::warning(Kind::ClockDoubtful, format!("no night opens: {reason}"))
                    });
                }
                Action::WakeAt(at) => self.wake = at.max(clock.now),
            }
        }
    }

    async fn start(&mut self, stage: Stage, attempt: u32, why: StartReason, until: Timestamp) {
        let stop = CancellationToken::new();
        if let Err(error) = self.keep_record().await {
            let what = format!("{stage} does not run, because its start cannot be recorded");
            let failed = Event::failed(Kind::RecordFailed, what, chain(&error));
            let reason = failed.message.clone();
            self.audit.emit(&Event { night: self.night(), stage: Some(stage), ..failed });
            let task = async move { TaskEnd::Stage(StageEnd::failed(reason)) };
            return self.supervisor.start(Task::Stage(stage), stop, task);
        }
        let (Some(tonight), Some(plan)) = (&self.tonight, self.agenda.night()) else { return };
        let planned = plan.stage(stage).cloned();
        let (at, peers) = planned.map_or((Timestamp::now(), Vec::new()), |it| (it.at, it.peers));
        let starting = Starting { stage, attempt, why, at, until, peers };
        let ctx = tonight.context(starting, stop.clone());
        let task = async move { TaskEnd::Stage(runner::run(ctx).await) };
        self.supervisor.start(Task::Stage(stage), stop, task);
    }

    /// What the policy drops even without tonight's sets goes at once: a full vault must not lock itself.
    fn make_room(&mut self, clock: Clock) {
        let Some(tonight) = self.tonight.as_ref().filter(|tonight| !tonight.night.is_extra()) else { return };
        if !clock.synchronised {
            return;
        }
        let stop = CancellationToken::new();
        let (stage, until) = (Stage::Prune, clock.now);
        let starting =
            Starting { stage, attempt: 0, why: StartReason::Due, at: until, until, peers: Vec::new() };
        let ctx = tonight.context(starting, stop.clone());
        let task = async move {
            prune::before_tonight(&ctx).await;
            TaskEnd::Room
        };
        self.supervisor.start(Task::Room, stop, task);
    }

    async fn ended(&mut self, ended: Ended<Task, TaskEnd>) {
        let Task::Stage(stage) = ended.name else {
            if let Err(panic) = ended.result {
                let what = format!("{:?} crashed (panic)", ended.name);
                self.audit.emit(&Event::failed(Kind::OperationFailed, what, panic));
            }
            return;
        };
        let end = match ended.result {
            Ok(TaskEnd::Stage(end)) => end,
            Ok(TaskEnd::Client | TaskEnd::Room) => return,
            Err(panic) => self.broke(stage, &panic).await,
        };
        let event = StageResult { stage, outcome: end.outcome, retry: end.retry, gained: end.gained };
        self.turn(AgendaEvent::StageEnded(event)).await;
        self.write_hint().await;
        self.release_waiting();
    }

    /// A stage that panicked is a failed stage; the daemon and the other stages go on.
    async fn broke(&self, stage: Stage, panic: &str) -> StageEnd {
        let end = StageEnd::failed(format!("{stage} broke down: {panic}"));
        if let Some(tonight) = &self.tonight {
            let attempt = tonight.attempts(stage);
            let (outcome, reason) = (end.outcome, end.reason.clone());
            tonight.note(Step::Ended { stage, attempt, outcome, reason, duration_ms: 0 }).await;
            tonight.board.end(stage);
        }
        self.audit.emit(&Event {
            night: self.night(),
            stage: Some(stage),
            outcome: Some(end.outcome.as_str()),
            reason: end.reason.clone(),
            ..Event::error(Kind::StageFinished, end.reason.clone().unwrap_or_default())
        });
        end
    }

    fn greet(&mut self, stream: tokio::net::UnixStream) {
        let talking = self.supervisor.running().filter(|task| matches!(task, Task::Client(_))).count();
        if talking >= CLIENTS {
            // Closing the stream is all the answer there is time for.
            return;
        }
        self.clients += 1;
        let (requests, socket) = (self.requests.clone(), self.settings.paths.socket());
        let task = async move {
            converse(stream, socket, requests).await;
            TaskEnd::Client
        };
        self.supervisor.start(Task::Client(self.clients), CancellationToken::new(), task);
    }

    async fn write_hint(&mut self) {
        let synchronised = self.clock.read().await.synchronised;
        let settings = Arc::clone(&self.settings);
        let mut record = self.tonight.as_ref().and_then(Tonight::record);
        if let Some(record) = &mut record {
            // A failure that is to be tried again is none yet: the others would stop waiting for the set.
            record.stages.retain(|stage, _| self.agenda.has_ended(*stage));
        }
        let written = offload::run(move || {
            let vault = Vault::new(&settings.vault.path);
            hint_file::write(&settings, &vault, record.as_ref(), synchronised)
        });
        if let Err(error) = written.await {
            let what = "cannot write now.json, by which peers see the progress of this host";
            self.audit.emit(&Event::degraded(Kind::OperationFailed, what, chain(&error)));
        }
    }

    /// Lets running stages end, for a while; what is left is resumed at the next start.
    async fn drain(&mut self) {
        self.systemd.stopping();
        self.audit.emit(&Event::info(Kind::DaemonStopping, "nightshift is stopping"));
        self.waiting.clear();
        // A pull loses nothing by stopping, and may only be waiting for a peer.
        for stage in Stage::ALL.into_iter().filter(|stage| stage.pulls().is_some()) {
            self.supervisor.stop(&Task::Stage(stage));
        }
        let deadline = tokio::time::Instant::now() + DRAIN;
        let stages = |supervisor: &Supervisor<Task, TaskEnd>| {
            supervisor.running().any(|task| matches!(task, Task::Stage(_)))
        };
        while stages(&self.supervisor) {
            tokio::select! {
                ended = self.supervisor.next() => tracing::debug!("{:?} has ended", ended.name),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        self.supervisor.stop_all();
        let grace = tokio::time::Instant::now() + Duration::from_secs(5);
        while stages(&self.supervisor) {
            tokio::select! {
                ended = self.supervisor.next() => tracing::debug!("{:?} was stopped", ended.name),
                () = tokio::time::sleep_until(grace) => return,
            }
        }
    }
}
