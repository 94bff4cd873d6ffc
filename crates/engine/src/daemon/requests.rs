//! What people ask of the daemon over its socket, and its answers.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use nightshift_core::agenda::{Event as AgendaEvent, ManualRequest};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::outcome::Outcome;
use nightshift_core::record::Record;
use nightshift_core::stage::Stage;
use tokio::sync::oneshot;

use super::{Daemon, Task};
use crate::collect;
use crate::control::{Answer, Pending, Request};
use crate::status;
use nightshift_store::offload;

/// A client that waits for stages to end.
pub(super) struct Waiting {
    night: Night,
    stages: Vec<Stage>,
    reply: oneshot::Sender<Answer>,
}

impl Daemon {
    pub(super) async fn answer(&mut self, pending: Pending) {
        let Pending { request, who, reply } = pending;
        let answer = match request {
            Request::Status => self.report().await,
            Request::Reload => self.reload(&who).await,
            Request::Run { stages, night, wait } => {
                let ask = ManualRequest::Stages { stages: stages.clone(), night };
                return self.run_by_hand(ask, stages, wait, &who, reply).await;
            }
            Request::RunNight { wait } => {
                let ask = ManualRequest::Night { extra: self.next_extra() };
                return self.run_by_hand(ask, Vec::new(), wait, &who, reply).await;
            }
            Request::Accept { set } => self.accept(set, who).await,
            Request::Readable => self.readable().await,
        };
        // A client that went away hears nothing; what it asked for is done all the same.
        let _gone = reply.send(answer);
    }

    async fn report(&self) -> Answer {
        let settings = Arc::clone(&self.settings);
        match offload::run(move || status::report(&settings, Timestamp::now())).await {
            Ok(mut report) => {
                report.daemon = Some(env!("CARGO_PKG_VERSION").to_owned());
                if let (Some(night), Some(tonight)) = (&mut report.night, &self.tonight) {
                    night.settled &= !self.is_working();
                    night.progress = Stage::ALL
                        .into_iter()
                        .filter_map(|stage| Some((stage.to_string(), tonight.board.progress(stage)?)))
                        .collect();
                }
                Answer::Status(Box::new(report))
            }
            Err(error) => Answer::Failed { message: chain(&error) },
        }
    }

    pub(super) fn is_working(&self) -> bool {
        self.supervisor.running().any(|task| matches!(task, Task::Stage(_)))
    }

    /// Loads the config aside, then swaps it in, or refuses it and keeps the old one.
    pub(super) async fn reload(&mut self, who: &str) -> Answer {
        let fresh = match (self.load)() {
            Ok(fresh) if fresh.roles().is_empty() => Err("this host would have no role left".to_owned()),
            Ok(fresh) => self.unchangeable(&fresh).map(|()| fresh),
            Err(diagnostics) => Err(diagnostics),
        };
        match fresh {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                self.settings = Arc::clone(&fresh);
                if let Some(tonight) = &mut self.tonight {
                    tonight.retime(&fresh);
                }
                self.audit
                    .emit(&Event::info(Kind::ConfigReloaded, format!("config reloaded, asked by {who}")));
                self.turn(AgendaEvent::Reloaded(fresh)).await;
                Answer::Done { message: "the config is in force: times of stages not yet begun change tonight, everything else from the next night on".to_owned() }
            }
            Err(diagnostics) => {
                self.audit.emit(&Event {
                    outcome: Some("refused"),
                    reason: Some(diagnostics.clone()),
                    ..Event::error(
                        Kind::ConfigRefused,
                        format!("the config is refused, the old one stays in force (asked by {who}):\n{diagnostics}"),
                    )
                });
                Answer::ConfigRefused { diagnostics }
            }
        }
    }

    /// Who this host is and where its things lie cannot change under a running daemon.
    fn unchangeable(&self, fresh: &nightshift_core::settings::Settings) -> Result<(), String> {
        let old = &self.settings;
        if (&old.cluster, &old.this, &old.paths, &old.vault.path)
            == (&fresh.cluster, &fresh.this, &fresh.paths, &fresh.vault.path)
        {
            Ok(())
        } else {
            Err("cluster, host name, vault and paths change only with a restart: systemctl restart nightshift".to_owned())
        }
    }

    async fn run_by_hand(
        &mut self,
        ask: ManualRequest,
        stages: Vec<Stage>,
        wait: bool,
        who: &str,
        reply: oneshot::Sender<Answer>,
    ) {
        let clock = self.clock.read().await;
        match self.agenda.request(clock, ask) {
            Ok(actions) => {
                let night = self.agenda.night().map(|plan| plan.night);
                let stages = match (stages.is_empty(), self.agenda.night()) {
                    (true, Some(plan)) => plan.stages.iter().map(|planned| planned.stage).collect(),
                    _ => stages,
                };
                self.act(actions, clock).await;
                let names: Vec<_> = stages.iter().map(ToString::to_string).collect();
                let message = format!("started, as {who} asked: {}", names.join(", "));
                tracing::info!("{message}");
                match night {
                    Some(night) if wait => self.waiting.push(Waiting { night, stages, reply }),
                    _ => {
                        let _gone = reply.send(Answer::Done { message });
                    }
                }
                self.release_waiting();
            }
            Err(refusal) => {
                let _gone = reply.send(Answer::Busy { message: refusal.to_string() });
            }
        }
    }

    /// The name of the next extra night of today.
    fn next_extra(&self) -> Night {
        let today = Timestamp::now().to_zoned(self.settings.window.zone.clone()).date();
        let nights = self.records.nights().unwrap_or_default();
        let extra =
            nights.iter().filter(|night| night.date == today).map(|night| night.extra).max().unwrap_or(0) + 1;
        Night { date: today, extra }
    }

    /// Answers the clients whose stages have all ended for good: one that is to be tried again has not.
    pub(super) fn release_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let open = self.tonight.as_ref().filter(|tonight| tonight.night == waiting.night);
            if open.is_some() && !waiting.stages.iter().all(|stage| self.agenda.has_ended(*stage)) {
                self.waiting.push(waiting);
                continue;
            }
            let record = match open {
                Some(tonight) => tonight.record(),
                None => self.records.read(waiting.night).ok().flatten(),
            };
            let answer = match record {
                Some(record) => verdict(&record, &waiting.stages),
                None => Answer::Failed { message: format!("night {} has no record", waiting.night) },
            };
            let _gone = waiting.reply.send(answer);
        }
    }

    /// What this process can read of what it is to collect: root's shell would see more.
    async fn readable(&self) -> Answer {
        let settings = Arc::clone(&self.settings);
        let (faults, notes) = offload::run(move || {
            let generation = collect::detect_generation();
            let mut faults = Vec::new();
            let mut notes = Vec::new();
            for role in settings.roles().iter() {
                let found = collect::probe(settings.file_rules(role, generation));
                faults.extend(found.faults.into_iter().map(|fault| format!("{role}: {fault}")));
                notes.extend(found.notes.into_iter().map(|note| format!("{role}: {note}")));
            }
            for secret in [&settings.ssh.host_key] {
                if let Err(error) = std::fs::File::open(Path::new(secret)) {
                    faults.push(format!("{}: {error}", secret.display()));
                }
            }
            (faults, notes)
        })
        .await;
        Answer::Readable { faults, notes }
    }
}

/// How the stages that somebody waits for went, once all of them have ended.
fn verdict(record: &Record, stages: &[Stage]) -> Answer {
    let mut lines = Vec::new();
    let mut worst = Outcome::Done;
    for stage in stages {
        let state = record.stages.get(stage);
        let outcome = state.and_then(|state| state.outcome).unwrap_or(Outcome::Missed);
        let reason = state.and_then(|state| state.reason.as_deref());
        let because = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("{stage} {outcome}{because}"));
        worst = match (worst, outcome) {
            (_, Outcome::Done) => worst,
            (Outcome::Done | Outcome::Degraded, Outcome::Degraded) => Outcome::Degraded,
            _ => Outcome::Failed,
        };
    }
    let message = lines.join("\n");
    match worst {
        Outcome::Done => Answer::Done { message },
        Outcome::Degraded => Answer::Degraded { message },
        _ => Answer::Failed { message },
    }
}
