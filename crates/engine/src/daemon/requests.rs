//! The requests that come over the control socket, and the daemon's responses.

use std::sync::Arc;

use jiff::Timestamp;
use nightshift_core::agenda::{Event as AgendaEvent, ManualRequest, Refusal};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::name::TargetName;
use nightshift_core::night::Night;
use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_core::{chain, units};
use nightshift_store::records::RecordLog;
use nightshift_store::{StoreError, Vault};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use super::actions::{Daemon, Task, TaskOutput};
use super::config;
use super::forget::forget;
use super::keep;
use super::opened;
use super::slots;
use super::status_line::wait_of;
use super::tonight::Tonight;
use super::waiting::WaitingClient;
use crate::audit::Audit;
use crate::collect::{self, gaps};
use crate::control::{ControlRequest, ControlResponse, Pending, refuse_client, serve_client};
use crate::notify::queue::Queue;
use crate::status::{Report, held_reason};
use crate::{machine, metrics_file, status};

impl Daemon {
    pub fn accept_client(&mut self, stream: UnixStream) {
        let Ok(uid) = stream.peer_cred().map(|credentials| credentials.uid()) else { return };
        let connected: Vec<u32> = (self.supervisor.running())
            .filter_map(|task| match task {
                Task::Client { uid, .. } => Some(*uid),
                _ => None,
            })
            .collect();
        if let Some(message) = slots::refusal(uid, &connected) {
            refuse_client(stream, message);
            return;
        }
        self.clients += 1;
        let (requests, socket) = (self.requests.clone(), self.agenda.settings().paths.socket());
        let task = async move {
            serve_client(stream, socket, requests).await;
            TaskOutput::Nothing
        };
        let client = Task::Client { number: self.clients, uid };
        self.supervisor.start(client, CancellationToken::new(), task);
    }

    pub async fn respond(&mut self, pending: Pending) {
        let Pending { request, who, reply } = pending;
        let response = match request {
            ControlRequest::Status { facts } => return self.report(facts, reply),
            ControlRequest::Reload => self.reload(&who).await,
            ControlRequest::Run { stages, night, wait, again } => {
                let request = ManualRequest::Stages { stages: stages.clone(), night, again };
                return self.run_manually(request, stages, wait, &who, reply).await;
            }
            ControlRequest::RunNight { wait, night, again, stages, restored, backup } => {
                let request = ManualRequest::Night { night, again, stages, restored, backup };
                return self.run_manually(request, Vec::new(), wait, &who, reply).await;
            }
            ControlRequest::CloseNight => self.close_night(ManualRequest::Close, &who).await,
            ControlRequest::Restored => self.close_night(ManualRequest::Restored, &who).await,
            ControlRequest::Accept { set } => {
                let (settings, audit, tonight) = self.audited();
                return self.beside(reply, move || accept(&settings, &audit, tonight, set, who));
            }
            ControlRequest::Keep { .. } | ControlRequest::Release { .. } if self.is_pruning() => {
                let message = "old sets are being removed now; try again when `nightshift status` shows that prune has ended";
                ControlResponse::Busy { message: message.to_owned() }
            }
            ControlRequest::Keep { .. } | ControlRequest::Release { .. } if self.is_pruning_at_opening() => {
                let message =
                    "old sets are being removed now, because the night has opened; try again in a minute";
                ControlResponse::Busy { message: message.to_owned() }
            }
            ControlRequest::Keep { night, until } => {
                let (settings, audit, _) = self.audited();
                return self.beside(reply, move || keep::keep(&settings, &audit, night, until, &who));
            }
            ControlRequest::Release { night } => {
                let (settings, audit, _) = self.audited();
                return self.beside(reply, move || keep::release(&settings, &audit, night, &who));
            }
            ControlRequest::Forget { host } => {
                let (settings, audit, tonight) = self.audited();
                return self.beside(reply, move || forget(&settings, &audit, tonight, &host, &who));
            }
            ControlRequest::Opened { archive, recipient } => {
                let settings = Arc::clone(self.agenda.settings());
                return self.beside(reply, move || opened::remember(&settings, archive, recipient));
            }
            ControlRequest::Notified { target, refused } => {
                let settings = Arc::clone(self.agenda.settings());
                return self.beside(reply, move || notified(&settings, &target, refused));
            }
            ControlRequest::Readable => {
                let settings = Arc::clone(self.agenda.settings());
                return self.beside(reply, move || readable(&settings));
            }
        };
        // The client may have disconnected; its request was carried out anyway.
        let _gone = reply.send(response);
    }

    /// It has decided already what it removes.
    fn is_pruning(&self) -> bool {
        self.running_stages().any(|stage| stage == Stage::Prune)
    }

    /// So has the one at the opening, which no stage shows.
    fn is_pruning_at_opening(&self) -> bool {
        self.supervisor.is_running(&Task::OpeningPrune)
    }

    /// What a change of stored sets needs: it is reported in the journal, and in the record of the open night.
    fn audited(&self) -> (Arc<Settings>, Audit, Option<(Night, RecordLog)>) {
        let tonight = self.nights.tonight().map(|tonight| (tonight.night, tonight.record.clone()));
        (Arc::clone(self.agenda.settings()), self.audit.clone(), tonight)
    }

    /// Responds to a request for the files alone, without the daemon's loop: a mount that does not respond must neither keep the
    /// daemon from stopping nor the watchdog from being notified.
    fn beside(
        &mut self,
        reply: oneshot::Sender<ControlResponse>,
        work: impl FnOnce() -> ControlResponse + Send + 'static,
    ) {
        let response = self.disk.run(work);
        let task = async move {
            // The client may have disconnected.
            let _gone = reply.send(response.await);
            TaskOutput::Nothing
        };
        self.supervisor.start(Task::Response, CancellationToken::new(), task);
    }

    fn report(&mut self, facts: bool, reply: oneshot::Sender<ControlResponse>) {
        let report = self.status(facts);
        self.beside(reply, move || match report() {
            Ok(report) => ControlResponse::Status(Box::new(report)),
            Err(error) => ControlResponse::Failed { message: chain(&error) },
        });
    }

    /// What reads the status from files, and adds what only the daemon knows.
    pub(super) fn status(&self, facts: bool) -> impl FnOnce() -> Result<Report, StoreError> + Send + use<> {
        let settings = Arc::clone(self.agenda.settings());
        let (held, unrecorded, waits) = (self.held(), self.unrecorded(), self.waits());
        let opens = self.agenda.next_opening(Timestamp::now());
        let (working, reload_refused) = (self.is_working(), self.reload_refused.clone());
        let load = Arc::clone(&self.load);
        let board = self.nights.tonight().map(|tonight| tonight.board.clone());
        move || {
            let now = Timestamp::now();
            let mut report = status::report(&settings, now)?;
            if facts {
                report = status::with_facts(&settings, report, now)?;
            }
            if let Some(facts) = &mut report.facts {
                facts.reload_refused = reload_refused.is_some();
            }
            report.daemon = Some(env!("CARGO_PKG_VERSION").to_owned());
            report.held = held;
            report.opens = opens;
            report.warnings.extend(unrecorded);
            report.warnings.extend(config::difference(&settings, reload_refused.as_deref(), &load));
            if let (Some(night), Some(board)) = (&mut report.night, board) {
                night.settled &= !working;
                let progress = |stage: Stage| Some((stage.to_string(), board.progress(stage)?));
                night.progress = Stage::ALL.into_iter().filter_map(progress).collect();
                night.waits = waits;
            }
            Ok(report)
        }
    }

    /// Why the night that is due does not open, or why the last one never did.
    fn held(&self) -> Option<String> {
        let (clock, zone) = (self.clock.read(), &self.agenda.settings().window.zone);
        let held = self.agenda.held(clock)?;
        let (since, reason) = (units::local_time(held.since, zone), held_reason(&held, zone));
        Some(if held.since <= clock.now && self.agenda.is_due(held.night, clock.now) {
            format!("night {}: held since {since}: {reason}", held.night)
        } else {
            format!("night {} did not open: {reason}", held.night)
        })
    }

    /// The open night, if its record cannot be written.
    fn unrecorded(&self) -> Option<Reason> {
        let night = self.agenda.night()?.night;
        let is_recorded = self.nights.tonight().is_some_and(Tonight::is_recorded);
        (!is_recorded).then(|| {
            let cause = self.nights.unwritten().unwrap_or("see `journalctl -u nightshift`");
            let text = format!(
                "night {night} is open, but its record cannot be written, so none of its stages runs: {cause}"
            );
            Reason::new(ReasonCode::RecordUnwritten, text)
        })
    }

    /// What each waiting stage of the open night waits for.
    fn waits(&self) -> Vec<(Stage, String)> {
        let (now, zone) = (Timestamp::now(), &self.agenda.settings().window.zone);
        let planned = self.agenda.night().map(|plan| plan.stages.as_slice()).unwrap_or_default();
        let waiting = planned.iter().filter(|planned| !self.agenda.has_ended(planned.stage));
        waiting.filter_map(|it| Some((it.stage, wait_of(&self.agenda, it, now, zone)?))).collect()
    }

    /// Loads the configuration; if it is invalid, the old settings stay in force.
    pub async fn reload(&mut self, who: &str) -> ControlResponse {
        let fresh = match config::load(&self.load) {
            Ok(fresh) if fresh.roles().is_empty() => {
                Err("this host has no role in the new configuration".to_owned())
            }
            Ok(fresh) => config::same_host(self.agenda.settings(), &fresh).map(|()| fresh),
            Err(diagnostics) => Err(diagnostics),
        };
        self.reload_refused = fresh.as_ref().err().cloned();
        let response = match fresh {
            Ok(fresh) => {
                let message = format!("configuration reloaded (requested by {who})");
                self.audit.emit(&Event::info(Kind::ConfigReloaded, message));
                self.clock.trust(fresh.trust_clock);
                self.turn(AgendaEvent::Reloaded(Arc::new(fresh))).await;
                let now = Timestamp::now();
                let skipped = self
                    .agenda
                    .skipped(now)
                    .map(|skipped| format!("; {}", skipped.text(&self.agenda.settings().window.zone)));
                let message = format!(
                    "the new configuration is in force: `trust-clock`, targets of notifications and hooks at once, times of stages that have not begun tonight, all other settings from the next night on{}",
                    skipped.unwrap_or_default()
                );
                ControlResponse::Done { message }
            }
            Err(diagnostics) => {
                self.audit.emit(&Event {
                    outcome: Some("refused"),
                    reason: Some(diagnostics.clone()),
                    ..Event::error(
                        Kind::ConfigRefused,
                        format!("the new configuration is invalid, the old one stays in force (requested by {who}):\n{diagnostics}"),
                    )
                });
                ControlResponse::ConfigRefused { diagnostics }
            }
        };
        self.metrics.changed();
        response
    }

    async fn run_manually(
        &mut self,
        request: ManualRequest,
        stages: Vec<Stage>,
        wait: bool,
        who: &str,
        reply: oneshot::Sender<ControlResponse>,
    ) {
        let clock = self.clock.read();
        match self.agenda.request(clock, request) {
            Ok(actions) => {
                let plan = self.agenda.night();
                let night = plan.map(|plan| plan.night);
                let planned = plan.map(|plan| plan.stages.as_slice()).unwrap_or_default();
                let stages = if stages.is_empty() {
                    planned.iter().map(|planned| planned.stage).collect()
                } else {
                    stages
                };
                let begun = stages.iter().filter(|stage| !self.agenda.has_ended(**stage));
                let names: Vec<_> = begun.map(ToString::to_string).collect();
                let of = night.map(|night| format!(" in night {night}")).unwrap_or_default();
                let message = if names.is_empty() {
                    format!("nothing started{of}: all its stages have ended; `--again` makes other sets")
                } else {
                    format!("started on request of {who}{of}: {}", names.join(", "))
                };
                self.act(actions, clock).await;
                tracing::info!("{message}");
                match night {
                    Some(night) if wait => self.waiting.0.push(WaitingClient { night, stages, reply }),
                    _ => {
                        let _gone = reply.send(ControlResponse::Done { message });
                    }
                }
                self.waiting.release(&self.agenda, &self.nights);
            }
            Err(refusal) => {
                let _gone = reply.send(refused(&refusal));
            }
        }
    }

    /// Closes the open night. Its stages wait for nothing but their own end.
    async fn close_night(&mut self, request: ManualRequest, who: &str) -> ControlResponse {
        let clock = self.clock.read();
        let before = self.agenda.night().map(|plan| plan.night);
        match self.agenda.request(clock, request) {
            Ok(actions) => {
                self.act(actions, clock).await;
                let stopping: Vec<_> = self.running_stages().map(|stage| stage.to_string()).collect();
                let message = match before {
                    None => "no night is open".to_owned(),
                    Some(night) if !self.agenda.is_closing() && self.agenda.night().is_some() => {
                        format!("night {night} stays open")
                    }
                    Some(night) if stopping.is_empty() => {
                        format!("night {night} is closed (requested by {who})")
                    }
                    Some(night) => {
                        let stages = stopping.join(", ");
                        format!(
                            "night {night} closes as soon as its stages have stopped (requested by {who}): {stages}"
                        )
                    }
                };
                tracing::info!("{message}");
                ControlResponse::Done { message }
            }
            Err(refusal) => refused(&refusal),
        }
    }
}

/// Checks which configured files this process can read; a command run by root could read more. Blocks.
fn readable(settings: &Settings) -> ControlResponse {
    let (control_plane, vault) = (machine::control_plane(), Vault::of(settings));
    let mut faults = Vec::new();
    let mut notes = Vec::new();
    for role in settings.roles().iter() {
        match collect::probe(settings.file_rules(role, control_plane)) {
            Ok(found) => {
                faults.extend(found.faults.into_iter().map(|fault| format!("{role}: {fault}")));
                notes.extend(found.notes.into_iter().map(|note| format!("{role}: {note}")));
            }
            Err(error) => faults.push(format!("{role}: {}", chain(&error))),
        }
        // A configuration may be in the sets of several roles.
        let gaps = gaps::notes(settings, &vault, role);
        let new: Vec<String> = gaps.into_iter().filter(|gap| !notes.contains(gap)).collect();
        notes.extend(new);
    }
    notes.extend(metrics_file::obstacle(settings));
    if let Err(error) = std::fs::File::open(&settings.ssh.host_key) {
        faults.push(format!("{}: {error}", settings.ssh.host_key.display()));
    }
    ControlResponse::Readable { faults, notes }
}

/// A test has the same way as every notice, so what was given up or refused before is settled. Blocks.
fn notified(settings: &Settings, target: &TargetName, refused: Option<String>) -> ControlResponse {
    if settings.notify.iter().all(|known| known.name != *target) {
        return ControlResponse::Refused {
            message: format!("the daemon's configuration has no target {target}"),
        };
    }
    match Queue::of(settings, target).arrived(Timestamp::now(), refused) {
        Ok(()) => ControlResponse::Done { message: format!("target {target}: a test has arrived") },
        Err(error) => ControlResponse::Failed { message: chain(&error) },
    }
}

fn refused(refusal: &Refusal) -> ControlResponse {
    let message = refusal.to_string();
    if refusal.is_temporary() {
        ControlResponse::Busy { message }
    } else {
        ControlResponse::Refused { message }
    }
}
