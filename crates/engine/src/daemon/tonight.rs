//! The open night: its record, its progress, and the context of its stages.

use std::sync::{Arc, OnceLock};

use nightshift_core::agenda::Start;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::outcome::Outcome;
use nightshift_core::record::Step;
use nightshift_core::stage::Stage;
use nightshift_ssh::Bandwidth;
use nightshift_store::records::{RecordLog, Records};
use nightshift_store::{Reservations, StoreError, Vault, offload};
use tokio::sync::Mutex;

use crate::audit::Audit;
use crate::board::Board;
use crate::context::StageContext;
use crate::once::Once;
use crate::stop::Stop;

#[derive(Debug)]
pub(super) struct Tonight {
    pub night: Night,
    pub record: RecordLog,
    audit: Audit,
    pub board: Board,
    once: Once,
    before_night: Arc<Mutex<()>>,
    /// A night has the limit that was configured when its first stage started.
    pulls: OnceLock<Bandwidth>,
    /// The space of the sets that its stages write at the same time.
    reservations: Reservations,
}

impl Tonight {
    /// Opens the record of a night, which has no lines yet or those that an earlier process wrote.
    pub fn open(night: Night, records: &Records, audit: Audit) -> Result<Self, StoreError> {
        Ok(Self {
            night,
            record: records.open(night)?,
            audit,
            board: Board::default(),
            once: Once::default(),
            before_night: Arc::default(),
            pulls: OnceLock::new(),
            reservations: Reservations::default(),
        })
    }

    pub fn is_recorded(&self) -> bool {
        self.record.look(|record| record.is_some())
    }

    /// The stages that began and did not end.
    pub fn interrupted(&self) -> Vec<Stage> {
        self.record.look(|record| {
            let stages = record.into_iter().flat_map(|record| &record.stages);
            stages.filter(|(_, state)| state.outcome.is_none()).map(|(stage, _)| *stage).collect()
        })
    }

    /// Writes a step of the daemon itself. If that fails, the event in the journal is all that remains of it.
    pub async fn note(&self, step: Step) {
        let record = self.record.clone();
        if let Err(error) = offload::run(move || record.note(step)).await {
            let failed = Event::failed(Kind::RecordFailed, "cannot write the record", chain(&error));
            self.audit.emit(&Event { night: Some(self.night), ..failed });
        }
    }

    /// Records the end of a stage that did not run to its end.
    pub async fn note_end(&self, stage: Stage, outcome: Outcome, reason: &str) {
        let attempt = self.record.look(|record| Some(record?.stages.get(&stage)?.attempts)).unwrap_or(1);
        let reason = Some(reason.to_owned());
        self.note(Step::Ended { stage, attempt, outcome, reason, duration_ms: 0 }).await;
    }

    pub fn context(&self, start: Start, stop: Stop) -> StageContext {
        let Start { stage, attempt, again, why, at, until, peers, settings } = start;
        StageContext {
            night: self.night,
            stage,
            attempt,
            again,
            why,
            at,
            until,
            peers,
            pulls: self.pulls.get_or_init(|| Bandwidth::of(settings.ssh.pull_rate)).clone(),
            vault: Vault::of(&settings).sharing(self.reservations.clone()),
            settings,
            record: self.record.clone(),
            audit: self.audit.clone(),
            board: self.board.clone(),
            once: self.once.clone(),
            before_night: Arc::clone(&self.before_night),
            stop,
            is_over: Arc::default(),
        }
    }
}
