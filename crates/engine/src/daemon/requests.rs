//! The requests that come over the control socket, and the daemon's responses.

use std::sync::Arc;

use jiff::Timestamp;
use nightshift_core::agenda::{Event as AgendaEvent, ManualRequest};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_store::offload;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use super::actions::{Daemon, Task, TaskOutput};
use super::waiting::WaitingClient;
use crate::control::{ControlRequest, ControlResponse, Pending, serve_client};
use crate::{collect, status};

/// The maximum number of control clients at the same time.
pub(super) const MAX_CLIENTS: usize = 32;

impl Daemon {
    pub fn accept_client(&mut self, stream: UnixStream) {
        let clients = self.supervisor.running().filter(|task| matches!(task, Task::Client(_))).count();
        if clients >= MAX_CLIENTS {
            // A response would need a task of its own; the closed stream is the refusal.
            return;
        }
        self.clients += 1;
        let (requests, socket) = (self.requests.clone(), self.agenda.settings().paths.socket());
        let task = async move {
            serve_client(stream, socket, requests).await;
            TaskOutput::Nothing
        };
        self.supervisor.start(Task::Client(self.clients), CancellationToken::new(), task);
    }

    pub async fn respond(&mut self, pending: Pending) {
        let Pending { request, who, reply } = pending;
        let response = match request {
            ControlRequest::Status => self.report().await,
            ControlRequest::Reload => self.reload(&who).await,
            ControlRequest::Run { stages, night, wait } => {
                let request = ManualRequest::Stages { stages: stages.clone(), night };
                return self.run_manually(request, stages, wait, &who, reply).await;
            }
            ControlRequest::RunNight { wait } => {
                let request = ManualRequest::Night { extra: self.next_extra() };
                return self.run_manually(request, Vec::new(), wait, &who, reply).await;
            }
            ControlRequest::Accept { set } => {
                let settings = Arc::clone(self.agenda.settings());
                accept(settings, &self.audit, self.nights.tonight(), set, who).await
            }
            ControlRequest::Readable => self.readable().await,
        };
        // The client may have disconnected; its request was carried out anyway.
        let _gone = reply.send(response);
    }

    async fn report(&self) -> ControlResponse {
        let settings = Arc::clone(self.agenda.settings());
        match offload::run(move || status::report(&settings, Timestamp::now())).await {
            Ok(mut report) => {
                report.daemon = Some(env!("CARGO_PKG_VERSION").to_owned());
                if let (Some(night), Some(tonight)) = (&mut report.night, self.nights.tonight()) {
                    night.settled &= !self.is_working();
                    night.progress = Stage::ALL
                        .into_iter()
                        .filter_map(|stage| Some((stage.to_string(), tonight.board.progress(stage)?)))
                        .collect();
                }
                ControlResponse::Status(Box::new(report))
            }
            Err(error) => ControlResponse::Failed { message: chain(&error) },
        }
    }

    /// Loads the configuration; if it is invalid, the old settings stay in force.
    pub async fn reload(&mut self, who: &str) -> ControlResponse {
        let fresh = match (self.load)() {
            Ok(fresh) if fresh.roles().is_empty() => {
                Err("this host has no role in the new configuration".to_owned())
            }
            Ok(fresh) => same_host(self.agenda.settings(), &fresh).map(|()| fresh),
            Err(diagnostics) => Err(diagnostics),
        };
        match fresh {
            Ok(fresh) => {
                let message = format!("configuration reloaded (requested by {who})");
                self.audit.emit(&Event::info(Kind::ConfigReloaded, message));
                self.turn(AgendaEvent::Reloaded(Arc::new(fresh))).await;
                ControlResponse::Done { message: "the new configuration is in force: times of stages that have not begun change tonight, all other settings from the next night on".to_owned() }
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
        }
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
                let night = self.agenda.night().map(|plan| plan.night);
                let stages = match (stages.is_empty(), self.agenda.night()) {
                    (true, Some(plan)) => plan.stages.iter().map(|planned| planned.stage).collect(),
                    _ => stages,
                };
                self.act(actions, clock).await;
                let names: Vec<_> = stages.iter().map(ToString::to_string).collect();
                let message = format!("started on request of {who}: {}", names.join(", "));
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
                let _gone = reply.send(ControlResponse::Busy { message: refusal.to_string() });
            }
        }
    }

    /// The name of the next extra night of today.
    fn next_extra(&self) -> Night {
        let date = Timestamp::now().to_zoned(self.agenda.settings().window.zone.clone()).date();
        let todays = self.nights.all().into_iter().filter(|night| night.date == date);
        Night { date, extra: todays.map(|night| night.extra).max().unwrap_or(0) + 1 }
    }

    /// Checks which configured files this process can read; a command run by root could read more.
    async fn readable(&self) -> ControlResponse {
        let settings = Arc::clone(self.agenda.settings());
        let (faults, notes) = offload::run(move || {
            let generation = collect::detect_generation();
            let mut faults = Vec::new();
            let mut notes = Vec::new();
            for role in settings.roles().iter() {
                match collect::probe(settings.file_rules(role, generation)) {
                    Ok(found) => {
                        faults.extend(found.faults.into_iter().map(|fault| format!("{role}: {fault}")));
                        notes.extend(found.notes.into_iter().map(|note| format!("{role}: {note}")));
                    }
                    Err(error) => faults.push(format!("{role}: {}", chain(&error))),
                }
            }
            if let Err(error) = std::fs::File::open(&settings.ssh.host_key) {
                faults.push(format!("{}: {error}", settings.ssh.host_key.display()));
            }
            (faults, notes)
        })
        .await;
        ControlResponse::Readable { faults, notes }
    }
}

/// The identity of this host and its directories cannot change while the daemon runs.
fn same_host(old: &Settings, fresh: &Settings) -> Result<(), String> {
    let fixed =
        |of: &Settings| (of.cluster.clone(), of.this.clone(), of.paths.clone(), of.vault.path.clone());
    if fixed(old) == fixed(fresh) {
        return Ok(());
    }
    Err("cluster, host name, vault and paths change only with a restart; run `systemctl restart nightshift`"
        .to_owned())
}
