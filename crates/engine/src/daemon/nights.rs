//! The nights on disk: opening one, its steps that are the daemon's own, and closing it.

use std::sync::Arc;

use nightshift_core::audit::{Event, Kind, Severity};
use nightshift_core::hook::Occasion;
use nightshift_core::night::Night;
use nightshift_core::outcome::{Outcome, Verdict};
use nightshift_core::plan::NightPlan;
use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::record::{self, HookReport, Record, Step};
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_core::summary::{self, Judgement};
use nightshift_core::{chain, units};
use nightshift_store::records::Records;
use nightshift_store::space::is_no_space;
use nightshift_store::{StoreError, offload};

use super::tonight::Tonight;
use crate::audit::Audit;
use crate::context::StageEnd;
use crate::{expected, hooks};

/// The records, and the open night.
pub(super) struct Nights {
    records: Records,
    audit: Audit,
    tonight: Option<Tonight>,
    /// Why the record of the open night could not be opened when that was last tried.
    unwritten: Option<String>,
}

impl Nights {
    pub const fn new(records: Records, audit: Audit) -> Self {
        Self { records, audit, tonight: None, unwritten: None }
    }

    pub fn tonight(&self) -> Option<&Tonight> {
        self.tonight.as_ref()
    }

    /// Why the open night is not recorded, and what to do.
    pub fn unwritten(&self) -> Option<&str> {
        self.unwritten.as_deref()
    }

    /// The record of a night; none if it has none, or if it cannot be read.
    pub fn record(&self, night: Night) -> Option<Record> {
        match self.tonight().filter(|tonight| tonight.night == night) {
            Some(tonight) => tonight.record.record(),
            None => self.records.read(night).ok().flatten(),
        }
    }

    /// Opens a night: its record is on disk before anything else happens in it. False if that failed.
    pub async fn open(&mut self, settings: Arc<Settings>, plan: NightPlan) -> bool {
        let (night, stages) = (plan.night, units::count(plan.stages.len(), "stage"));
        let closes = units::local_time(plan.closes, &settings.window.zone);
        if let Err(error) = self.keep_record(settings, plan).await {
            // Each stage tries again at its time, and does not run before the record is on disk.
            self.record_failed(night, format!("cannot open the record of night {night}"), &error);
            return false;
        }
        self.audit.emit(&Event {
            night: Some(night),
            ..Event::info(Kind::NightOpened, format!("night {night} is open until {closes}, with {stages}"))
        });
        true
    }

    /// Makes sure that the record of the open night is on disk, from its opening on.
    pub async fn keep_record(
        &mut self,
        settings: Arc<Settings>,
        plan: NightPlan,
    ) -> Result<&Tonight, StoreError> {
        let is_kept = |tonight: &Tonight| tonight.night == plan.night && tonight.is_recorded();
        let tonight = match self.tonight.take().filter(is_kept) {
            Some(tonight) => tonight,
            None => {
                let (records, audit) = (self.records.clone(), self.audit.clone());
                let opened = offload::run(move || {
                    let tonight = Tonight::open(plan.night, &records, audit)?;
                    if !tonight.is_recorded() {
                        tonight.record.note(opening(&settings, &records, &plan))?;
                    }
                    Ok::<_, StoreError>(tonight)
                });
                opened.await.inspect_err(|error| self.unwritten = Some(cause(error)))?
            }
        };
        self.unwritten = None;
        Ok(self.tonight.insert(tonight))
    }

    /// Reports that something is not in the record; returns the message.
    pub fn record_failed(&self, night: Night, what: String, error: &StoreError) -> String {
        let failed = Event::failed(Kind::RecordFailed, what, chain(error));
        let message = failed.message.clone();
        self.audit.emit(&Event { night: Some(night), ..failed });
        message
    }

    /// Continues the record that an earlier process left open, and records the end of the stages that ran when it ended.
    pub async fn resume(&mut self, settings: Arc<Settings>, plan: NightPlan) {
        let night = plan.night;
        match self.keep_record(settings, plan).await {
            Ok(tonight) => {
                for stage in tonight.interrupted() {
                    let reason = "the daemon ended while the stage ran";
                    tonight.note_end(stage, Outcome::Interrupted, reason).await;
                }
            }
            Err(error) => {
                self.record_failed(night, format!("cannot continue the record of night {night}"), &error);
            }
        }
    }

    pub async fn miss(&self, stage: Stage, reason: String) {
        if let Some(tonight) = self.tonight() {
            tonight.note_end(stage, Outcome::Missed, &reason).await;
        }
        self.audit.emit(&Event {
            night: self.tonight().map(|tonight| tonight.night),
            stage: Some(stage),
            outcome: Some(Outcome::Missed.as_str()),
            ..Event::failed(Kind::StageMissed, format!("{stage} missed"), reason)
        });
    }

    /// A stage that panicked is a failed stage; the daemon and the other stages continue.
    pub async fn crashed(&self, stage: Stage, panic: &str) -> StageEnd {
        let reason = format!("{stage} crashed (panic): {panic}");
        if let Some(tonight) = self.tonight() {
            tonight.note_end(stage, Outcome::Failed, &reason).await;
            tonight.board.end(stage);
        }
        self.audit.emit(&Event {
            night: self.tonight().map(|tonight| tonight.night),
            stage: Some(stage),
            reason: Some(reason.clone()),
            ..Event::error(Kind::StageFinished, reason.clone())
        });
        StageEnd::failed(reason)
    }

    /// Closes the night with its verdict; its record becomes one file. A night that closes before its time has the reason. Returns
    /// the night if hooks follow it.
    pub async fn close(&mut self, settings: &Settings, early: Option<String>) -> Option<Night> {
        let tonight = self.tonight.take()?;
        let record = tonight.record.record()?;
        let Judgement { mut verdict, mut reasons, tolerated } = summary::judge(&record);
        if let Some(early) = early {
            let text = format!("{}: {early}", summary::CLOSED_EARLY);
            reasons.insert(0, Reason::new(ReasonCode::ClosedEarly, text));
            verdict = verdict.min(Verdict::Degraded);
        }
        let reasons: Vec<String> = reasons.into_iter().map(|reason| reason.text).collect();
        let hooks: Vec<_> = hooks::at(settings, Occasion::AFTER_NIGHT).map(HookReport::due).collect();
        let follows = (!hooks.is_empty()).then_some(tonight.night);
        for hook in hooks {
            tonight.note(Step::Hook(hook)).await;
        }
        tonight.note(Step::Closed { verdict, reasons: reasons.clone() }).await;
        let (night, records, closed) =
            (tonight.night, self.records.clone(), tonight.record.record().unwrap_or(record));
        if let Err(error) = offload::run(move || records.close(&closed)).await {
            self.record_failed(night, format!("cannot close the record of night {night}"), &error);
        }
        let severity = match verdict {
            Verdict::Complete => Severity::Info,
            Verdict::Degraded => Severity::Warning,
            Verdict::Failed => Severity::Error,
        };
        let tolerated = tolerated.into_iter().map(|reason| reason.text);
        let reasons: Vec<String> = reasons.into_iter().chain(tolerated).collect();
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        self.audit.emit(&Event {
            night: Some(night),
            outcome: Some(verdict.as_str()),
            reason,
            ..Event::new(Kind::NightClosed, severity, format!("night {night} closed: {verdict}{why}"))
        });
        follows
    }
}

fn cause(error: &StoreError) -> String {
    let remedy = match error {
        StoreError::Io { source, .. } if is_no_space(source) => "free some space: df -h, df -i",
        _ => "see `journalctl -u nightshift`",
    };
    format!("{}; {remedy}", chain(error))
}

fn opening(settings: &Settings, records: &Records, plan: &NightPlan) -> Step {
    let stages: Vec<Stage> = plan.stages.iter().map(|planned| planned.stage).collect();
    let mut expected = expected::of_night(settings, records, plan.night);
    if plan.night.is_extra() {
        // An extra night creates this host's sets and waits for none of other hosts, unless all run it.
        expected.retain(|wanted| {
            let pulled = |stage: &Stage| plan.is_common() && stage.pulls() == Some(wanted.role);
            let made = |stage: &Stage| wanted.host == settings.this && stage.makes() == Some(wanted.role);
            stages.iter().any(|stage| made(stage) || pulled(stage))
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
        restored: plan.restored.clone(),
        backup: plan.backup.clone(),
        tolerate: (!settings.tolerate.is_none()).then_some(settings.tolerate),
    }
}
