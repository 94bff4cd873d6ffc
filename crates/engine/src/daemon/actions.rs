//! The daemon's state, and how it carries out what the agenda decides.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::agenda::{Action, Agenda, Clock, Event as AgendaEvent, Held, StageResult, Start};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::name::TargetName;
use nightshift_core::night::Night;
use nightshift_core::record::StartReason;
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_core::{chain, units};
use nightshift_store::records::Records;
use nightshift_store::{StoreError, Vault, offload};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::config::Load;
use super::disk::Disk;
use super::due_notices::DueNotices;
use super::metrics_clock::MetricsClock;
use super::night_hooks;
use super::nights::Nights;
use super::status_line::status_line;
use super::sweep::sweep;
use super::waiting::WaitingClients;
use crate::audit::Audit;
use crate::clock::{self, WallClock};
use crate::context::{Beside, Ended, StageEnd};
use crate::control::Pending;
use crate::stages::prune;
use crate::status::held_reason;
use crate::stop::Stop;
use crate::supervisor::{Supervisor, TaskResult};
use crate::systemd::Systemd;
use crate::{hint_file, runner};

/// What the supervisor runs for the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    Stage(Stage),
    /// A transfer that a stage left running at its `until`.
    Beside(Stage),
    Client {
        number: u64,
        uid: u32,
    },
    /// A response that needs files.
    Response,
    /// Writes `now.json`.
    Hint,
    /// Writes what metrics are made of.
    Metrics,
    /// Sends the notices of a target.
    Notify(TargetName),
    /// Prunes when a night opens, so that there is space for its sets.
    OpeningPrune,
    /// Runs the hooks after a night.
    NightHooks(Night),
    /// Queries whether the clock is synchronised; this may take seconds.
    ClockQuery,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(stage) => write!(f, "{stage}"),
            Self::Beside(stage) => write!(f, "a late transfer of {stage}"),
            Self::Client { uid, .. } => write!(f, "a control request of the user with the id {uid}"),
            Self::Response => f.write_str("the response to a control request"),
            Self::Hint => f.write_str("the update of now.json"),
            Self::Metrics => f.write_str("the update of the metrics"),
            Self::Notify(target) => write!(f, "the notices to target {target}"),
            Self::OpeningPrune => f.write_str("the prune at the opening of the night"),
            Self::NightHooks(night) => write!(f, "the hooks after night {night}"),
            Self::ClockQuery => f.write_str("the query of the clock"),
        }
    }
}

/// What a task returns.
#[derive(Debug)]
pub(super) enum TaskOutput {
    Stage(Ended),
    /// Whether a set arrived.
    Beside(bool),
    Synchronised(bool),
    /// What has changed may be in the queues of notices.
    Observed,
    /// When the next notice of a target is due.
    Notified {
        target: TargetName,
        next: Option<Timestamp>,
    },
    Nothing,
}

pub(super) struct Daemon {
    pub load: Load,
    pub agenda: Agenda,
    pub nights: Nights,
    pub supervisor: Supervisor<Task, TaskOutput>,
    pub audit: Audit,
    pub systemd: Systemd,
    pub clock: WallClock,
    pub waiting: WaitingClients,
    /// Stops every stage as soon as it only waits.
    pub draining: CancellationToken,
    /// The number of control clients so far.
    pub clients: u64,
    pub requests: mpsc::Sender<Pending>,
    pub disk: Disk,
    /// `now.json` has to be written again, because the daemon's state changed while it was written.
    hint_is_old: bool,
    /// Why the last reload was refused, if it was.
    pub reload_refused: Option<String>,
    pub metrics: MetricsClock,
    pub notices: DueNotices,
    wake: Timestamp,
}

impl Daemon {
    pub async fn build(
        load: Load,
        settings: Arc<Settings>,
        requests: mpsc::Sender<Pending>,
    ) -> Result<Self, StoreError> {
        let records = Records::new(settings.paths.records());
        let audit = Audit::new(settings.cluster.clone(), settings.this.clone());
        let now = Timestamp::now();
        let past = records.past(now)?;
        for error in &past.unreadable {
            let what = "a record cannot be read; the daemon continues without it";
            audit.emit(&Event::degraded(Kind::OperationFailed, what, chain(error)));
        }
        let open = past.newest(now).filter(|record| record.closed.is_none()).map(|record| record.night);
        sweep(Arc::clone(&settings), open, &audit).await;
        let nights: Vec<Night> = past.nights.into_iter().collect();
        Ok(Self {
            clock: WallClock::new(settings.trust_clock),
            wake: Timestamp::now(),
            waiting: WaitingClients::default(),
            clients: 0,
            load,
            agenda: Agenda::new(settings, &nights, past.read),
            nights: Nights::new(records, audit.clone()),
            draining: CancellationToken::new(),
            supervisor: Supervisor::new(),
            audit,
            systemd: Systemd::new(),
            requests,
            disk: Disk::new(),
            hint_is_old: false,
            reload_refused: None,
            metrics: MetricsClock::default(),
            notices: DueNotices::default(),
        })
    }

    /// Takes the first step of the agenda, which continues the night that an earlier process left open.
    pub async fn begin(&mut self) {
        let settings = self.agenda.settings();
        let (version, host, roles) = (env!("CARGO_PKG_VERSION"), &settings.this, settings.roles());
        self.audit.emit(&Event::info(
            Kind::DaemonStarted,
            format!("nightshift {version} runs the schedule of {host} ({roles})"),
        ));
        if self.clock.needs_query() {
            self.clock.store(clock::query().await);
        }
        for night in night_hooks::left(self.agenda.settings()).await {
            self.run_hooks_after(night);
        }
        self.turn(AgendaEvent::Tick).await;
        self.write_hint();
        self.metrics.changed();
    }

    pub fn notify_systemd(&mut self) {
        self.systemd.alive();
        let running: Vec<Stage> = self.running_stages().collect();
        let line = status_line(&self.agenda, self.nights.tonight(), &running);
        self.systemd.status(&line);
    }

    pub fn running_stages(&self) -> impl Iterator<Item = Stage> {
        self.supervisor.running().filter_map(|task| match task {
            Task::Stage(stage) => Some(*stage),
            _ => None,
        })
    }

    pub fn is_working(&self) -> bool {
        self.running_stages().next().is_some()
    }

    pub fn until_wake(&self) -> Duration {
        self.wake.duration_since(Timestamp::now()).try_into().unwrap_or_default()
    }

    /// Steps the agenda, and carries out its actions.
    pub async fn turn(&mut self, event: AgendaEvent) {
        if self.clock.needs_query() && !self.supervisor.is_running(&Task::ClockQuery) {
            let query = async { TaskOutput::Synchronised(clock::query().await) };
            self.supervisor.start(Task::ClockQuery, CancellationToken::new(), query);
        }
        let clock = self.clock.read();
        let actions = self.agenda.step(clock, event);
        self.act(actions, clock).await;
    }

    pub async fn act(&mut self, actions: Vec<Action>, clock: Clock) {
        for action in actions {
            match action {
                Action::Open(plan) => {
                    if self.nights.open(Arc::clone(self.agenda.settings()), plan).await {
                        self.write_hint();
                        self.metrics.changed();
                    }
                    self.prune_at_opening(clock);
                }
                Action::Resume(plan) => {
                    self.nights.resume(Arc::clone(self.agenda.settings()), plan).await;
                }
                Action::Start(start) => self.start(start).await,
                Action::Stop { stage } => self.supervisor.stop(&Task::Stage(stage)),
                Action::Miss { stage, reason } => self.nights.miss(stage, reason).await,
                Action::Close { early } => {
                    Stage::ALL.into_iter().for_each(|stage| self.supervisor.stop(&Task::Beside(stage)));
                    let settings = Arc::clone(self.agenda.settings());
                    if let Some(night) = self.nights.close(&settings, early).await {
                        self.run_hooks_after(night);
                    }
                    self.waiting.release(&self.agenda, &self.nights);
                    self.write_hint();
                    self.metrics.changed();
                }
                Action::Hold(held) => {
                    let what = format!("night {} is due and does not open yet", held.night);
                    let reason = held_reason(&held, &self.agenda.settings().window.zone);
                    let kind = if held.clock { Kind::ClockDoubtful } else { Kind::NightHeld };
                    let event = Event::degraded(kind, what, reason);
                    self.audit.emit(&Event { night: Some(held.night), ..event });
                }
                Action::Lost(Held { night, reason, .. }) => {
                    let what = format!("night {night} did not open");
                    let event = Event::failed(Kind::NightMissed, what, reason);
                    self.audit.emit(&Event { night: Some(night), ..event });
                }
                Action::Skip(skipped) => {
                    let zone = &self.agenda.settings().window.zone;
                    let what = format!(
                        "night {} does not open at {}",
                        skipped.night,
                        units::local_time(skipped.at, zone)
                    );
                    let event = Event::failed(Kind::NightMissed, what, skipped.reason(zone));
                    self.audit.emit(&Event { night: Some(skipped.night), ..event });
                }
                Action::FutureRecord(night) => {
                    let what = format!("the record of night {night} is more than 36 h in the future");
                    let reason = "the clock was wrong when it was written, or is wrong now";
                    self.audit.emit(&Event::degraded(Kind::ClockDoubtful, what, reason));
                }
                Action::WakeAt(at) => self.wake = at.max(clock.now),
            }
        }
    }

    async fn start(&mut self, start: Start) {
        let (task, stop) = (Task::Stage(start.stage), CancellationToken::new());
        let Some(plan) = self.agenda.night().cloned() else { return };
        let night = plan.night;
        match self.nights.keep_record(Arc::clone(&start.settings), plan).await {
            Ok(tonight) => {
                let ctx = tonight.context(start, Stop::new(stop.clone(), self.draining.clone()));
                self.supervisor.start(task, stop, async { TaskOutput::Stage(runner::run(ctx).await) });
            }
            Err(error) => {
                let what = format!("{} does not run, because its start cannot be recorded", start.stage);
                let end = StageEnd::failed(self.nights.record_failed(night, what, &error));
                self.supervisor.start(task, stop, async { TaskOutput::Stage(end.into()) });
            }
        }
    }

    /// A task of its own: neither the next night nor a client waits for it.
    fn run_hooks_after(&mut self, night: Night) {
        let hooks = night_hooks::run(Arc::clone(self.agenda.settings()), night, self.audit.clone());
        let task = async {
            hooks.await;
            TaskOutput::Nothing
        };
        self.supervisor.start(Task::NightHooks(night), CancellationToken::new(), task);
    }

    /// Makes space at once for tonight's sets: a full vault could not take them.
    fn prune_at_opening(&mut self, clock: Clock) {
        let Some(tonight) = self.nights.tonight().filter(|tonight| !tonight.night.is_extra()) else { return };
        let stop = CancellationToken::new();
        let start = Start {
            stage: Stage::Prune,
            attempt: 0,
            again: false,
            why: StartReason::Due,
            at: clock.now,
            until: clock.now,
            peers: Vec::new(),
            settings: Arc::clone(self.agenda.settings()),
        };
        let ctx = tonight.context(start, Stop::new(stop.clone(), self.draining.clone()));
        let task = async move {
            prune::before_tonight(&ctx, clock.synchronised).await;
            TaskOutput::Nothing
        };
        self.supervisor.start(Task::OpeningPrune, stop, task);
    }

    /// Handles the result of a task.
    pub async fn ended(&mut self, ended: TaskResult<Task, TaskOutput>) {
        if ended.name == Task::Hint && self.hint_is_old {
            self.write_hint();
        }
        let Ended { end, beside } = match (&ended.name, ended.result) {
            (_, Ok(TaskOutput::Nothing | TaskOutput::Beside(false))) => return,
            (_, Ok(TaskOutput::Beside(true))) => return self.turn(AgendaEvent::LateSet).await,
            (_, Ok(TaskOutput::Observed)) => return self.notices.changed(),
            (_, Ok(TaskOutput::Notified { target, next })) => return self.notices.sent(target, next),
            (_, Ok(TaskOutput::Synchronised(synchronised))) => {
                self.clock.store(synchronised);
                return self.turn(AgendaEvent::Tick).await;
            }
            (_, Ok(TaskOutput::Stage(ended))) => ended,
            (Task::Stage(stage), Err(panic)) => self.nights.crashed(*stage, &panic).await.into(),
            (task, Err(panic)) => {
                let what = format!("{task} crashed (panic)");
                return self.audit.emit(&Event::failed(Kind::OperationFailed, what, panic));
            }
        };
        let Task::Stage(stage) = ended.name else { return };
        self.continue_beside(stage, beside);
        let event = StageResult { stage, outcome: end.outcome, retry: end.retry, gained: end.gained };
        self.turn(AgendaEvent::StageEnded(event)).await;
        self.write_hint();
        self.metrics.changed();
        self.waiting.release(&self.agenda, &self.nights);
    }

    /// Lets the last transfers of an ended stage continue, at most until the night closes.
    fn continue_beside(&mut self, stage: Stage, Beside(transfers): Beside) {
        let Some(closes) = self.agenda.night().map(|plan| plan.closes) else { return };
        let left = closes.duration_since(Timestamp::now()).try_into().unwrap_or_default();
        for transfer in transfers {
            let stop = CancellationToken::new();
            let stopped = stop.clone();
            self.supervisor.start(Task::Beside(stage), stop, async move {
                TaskOutput::Beside(tokio::select! {
                    gained = transfer => gained,
                    () = stopped.cancelled() => false,
                    () = tokio::time::sleep(left) => false,
                })
            });
        }
    }

    /// Writes `now.json` for the peers, as a task: the vault's file system may not respond.
    pub fn write_hint(&mut self) {
        self.hint_is_old = self.supervisor.is_running(&Task::Hint);
        if self.hint_is_old {
            return;
        }
        let synchronised = self.clock.read().synchronised;
        let settings = Arc::clone(self.agenda.settings());
        let mut record = self.nights.tonight().and_then(|tonight| tonight.record.record());
        if let Some(record) = &mut record {
            // A stage that will be retried has not failed yet: peers would stop waiting for its set.
            record.stages.retain(|stage, _| self.agenda.has_ended(*stage));
        }
        let audit = self.audit.clone();
        let write = move || {
            let vault = Vault::of(&settings);
            if let Err(error) = hint_file::write(&settings, &vault, record.as_ref(), synchronised) {
                let what = "cannot write now.json, which shows peers the progress of this host";
                audit.emit(&Event::degraded(Kind::OperationFailed, what, chain(&error)));
            }
            TaskOutput::Nothing
        };
        self.supervisor.start(Task::Hint, CancellationToken::new(), offload::run(write));
    }
}
