//! The open night: its settings, its record, and opening and closing it.

use std::sync::Arc;

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind, Severity};
use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::{Outcome, Verdict};
use nightshift_core::plan::NightPlan;
use nightshift_core::record::{self, Record, StartReason, Step};
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_core::summary::{self, Judgement};
use tokio_util::sync::CancellationToken;

use super::Daemon;
use crate::audit::Audit;
use crate::board::Board;
use crate::context::StageContext;
use crate::expected;
use nightshift_store::offload;
use nightshift_store::records::{Journal, Records};
use nightshift_store::{StoreError, Vault};

/// A stage that the agenda starts, as its plan has it.
pub(super) struct Starting {
    pub stage: Stage,
    pub attempt: u32,
    pub why: StartReason,
    pub at: Timestamp,
    pub until: Timestamp,
    pub peers: Vec<HostName>,
}

/// What stays the same while a night is open, whatever is reloaded.
#[derive(Debug)]
pub(super) struct Tonight {
    pub night: Night,
    settings: Arc<Settings>,
    journal: Journal,
    audit: Audit,
    pub board: Board,
}

impl Tonight {
    /// Takes up a night that an earlier life of the daemon left open.
    pub fn resume(
        night: Night,
        settings: &Arc<Settings>,
        records: &Records,
        audit: Audit,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            night,
            settings: Arc::clone(settings),
            journal: records.open(night)?,
            audit,
            board: Board::default(),
        })
    }

    /// A look at the record so far.
    pub fn look<T>(&self, look: impl FnOnce(Option<&Record>) -> T) -> T {
        self.journal.look(look)
    }

    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }

    pub fn record(&self) -> Option<Record> {
        self.journal.record()
    }

    /// The stages that had begun and never ended.
    pub fn cut_short(&self) -> Vec<(Stage, u32)> {
        self.look(|record| {
            let stages = record.into_iter().flat_map(|record| &record.stages);
            stages
                .filter(|(_, state)| state.outcome.is_none())
                .map(|(stage, state)| (*stage, state.attempts))
                .collect()
        })
    }

    pub fn attempts(&self, stage: Stage) -> u32 {
        self.look(|record| Some(record?.stages.get(&stage)?.attempts)).unwrap_or(1)
    }

    /// Writes a step of the daemon itself. If that fails, the event in the journal is all that remains of it.
    pub async fn note(&self, step: Step) {
        let journal = self.journal.clone();
        if let Err(error) = offload::run(move || journal.note(step)).await {
            let failed = Event::failed(Kind::RecordFailed, "cannot write the record", chain(&error));
            self.audit.emit(&Event { night: Some(self.night), ..failed });
        }
    }

    /// Times of stages not yet begun change tonight, and nothing else.
    pub fn retime(&mut self, fresh: &Settings) {
        let begun = self.record().map(|record| record.stages).unwrap_or_default();
        let mut settings = (*self.settings).clone();
        for stage in Stage::ALL.into_iter().filter(|stage| !begun.contains_key(stage)) {
            *settings.stages.get_mut(stage) = fresh.stages.get(stage).clone();
        }
        self.settings = Arc::new(settings);
    }

    pub fn context(&self, start: Starting, stop: CancellationToken) -> StageContext {
        let Starting { stage, attempt, why, at, until, peers } = start;
        StageContext {
            settings: Arc::clone(&self.settings),
            night: self.night,
            stage,
            attempt,
            why,
            at,
            until,
            peers,
            vault: Vault::new(&self.settings.vault.path),
            record: self.journal.clone(),
            audit: self.audit.clone(),
            board: self.board.clone(),
            stop,
        }
    }
}

impl Daemon {
    /// Opens a night: its record is on disk before anything else happens in it.
    pub(super) async fn open(&mut self, plan: NightPlan) {
        if let Err(error) = self.keep_record().await {
            // Each stage tries again at its time, and does not run before the record is on disk.
            let what = format!("cannot open the record of night {}", plan.night);
            let failed = Event::failed(Kind::RecordFailed, what, chain(&error));
            self.audit.emit(&Event { night: Some(plan.night), ..failed });
            return;
        }
        let stages = plan.stages.len();
        self.audit.emit(&Event {
            night: Some(plan.night),
            ..Event::info(
                Kind::NightOpened,
                format!("night {} is open until {}: {stages} stages", plan.night, plan.closes),
            )
        });
        self.write_hint().await;
    }

    /// Makes sure that the open night's record is on disk, from its opening on.
    pub(super) async fn keep_record(&mut self) -> Result<(), StoreError> {
        let Some(plan) = self.agenda.night().cloned() else { return Ok(()) };
        let kept = |tonight: &Tonight| tonight.night == plan.night && tonight.look(|record| record.is_some());
        if self.tonight.as_ref().is_some_and(kept) {
            return Ok(());
        }
        let (settings, records, audit) =
            (Arc::clone(&self.settings), self.records.clone(), self.audit.clone());
        let tonight = offload::run(move || {
            let tonight = Tonight::resume(plan.night, &settings, &records, audit)?;
            if tonight.look(|record| record.is_none()) {
                tonight.journal.note(opening(&settings, &records, &plan))?;
            }
            Ok::<_, StoreError>(tonight)
        });
        self.tonight = Some(tonight.await?);
        Ok(())
    }

    pub(super) async fn miss(&mut self, stage: Stage, reason: String) {
        let Some(tonight) = &self.tonight else { return };
        let attempt = tonight.attempts(stage);
        let outcome = Outcome::Missed;
        tonight
            .note(Step::Ended { stage, attempt, outcome, reason: Some(reason.clone()), duration_ms: 0 })
            .await;
        self.audit.emit(&Event {
            night: Some(tonight.night),
            stage: Some(stage),
            outcome: Some(outcome.as_str()),
            reason: Some(reason.clone()),
            ..Event::error(Kind::StageMissed, format!("{stage} missed: {reason}"))
        });
    }

    /// Closes the night with its verdict, and sweeps its lines into one record.
    pub(super) async fn close(&mut self) {
        let Some(tonight) = self.tonight.take() else { return };
        let Some(record) = tonight.record() else { return };
        let Judgement { verdict, reasons } = summary::judge(&record);
        tonight.note(Step::Closed { verdict, reasons: reasons.clone() }).await;
        let (records, closed) = (self.records.clone(), tonight.record().unwrap_or(record));
        if let Err(error) = offload::run(move || records.close(&closed)).await {
            let what = format!("cannot close the record of night {}", tonight.night);
            let failed = Event::failed(Kind::RecordFailed, what, chain(&error));
            self.audit.emit(&Event { night: Some(tonight.night), ..failed });
        }
        let severity = match verdict {
            Verdict::Complete => Severity::Info,
            Verdict::Degraded => Severity::Warning,
            Verdict::Failed => Severity::Error,
        };
        let because = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
        self.audit.emit(&Event {
            night: Some(tonight.night),
            outcome: Some(verdict.as_str()),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            ..Event::new(
                Kind::NightClosed,
                severity,
                format!("night {} closed: {verdict}{because}", tonight.night),
            )
        });
        self.release_waiting();
        self.write_hint().await;
    }
}

fn opening(settings: &Settings, records: &Records, plan: &NightPlan) -> Step {
    let stages: Vec<Stage> = plan.stages.iter().map(|planned| planned.stage).collect();
    let mut expected = expected::of_night(settings, records, plan.night);
    if plan.night.is_extra() {
        // An extra night makes this host's sets and waits for nobody's.
        expected.retain(|wanted| {
            wanted.host == settings.this && stages.iter().any(|stage| stage.makes() == Some(wanted.role))
        });
    }
    Step::Opened {
        format: record::FORMAT,
        night: plan.night,
        host: settings.this.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        closes: plan.closes,
        expected,
        stages,
        remotes: settings.remotes.iter().map(|remote| remote.name.clone()).collect(),
    }
}
