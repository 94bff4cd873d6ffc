//! What a stage needs: everything is its own, so that a reload does not change it while it runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use nightshift_core::audit::Event;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Outcome;
use nightshift_core::record::{Record, StartReason, Step};
use nightshift_core::settings::{Settings, StageSettings};
use nightshift_core::stage::Stage;
use nightshift_core::text::Text;
use nightshift_ssh::Bandwidth;
use nightshift_store::records::RecordLog;
use nightshift_store::{StoreError, Vault, offload};
use tokio::sync::Mutex;

use crate::audit::Audit;
use crate::board::Board;
use crate::once::Once;
use crate::stop::Stop;

#[derive(Debug, Clone)]
pub struct StageContext {
    pub settings: Arc<Settings>,
    pub night: Night,
    pub stage: Stage,
    pub attempt: u32,
    /// It makes another set if tonight's exists.
    pub again: bool,
    pub why: StartReason,
    /// When it was planned to start.
    pub at: Timestamp,
    /// Until when to wait for what is not there yet.
    pub until: Timestamp,
    pub peers: Vec<HostName>,
    pub vault: Vault,
    pub record: RecordLog,
    pub audit: Audit,
    pub board: Board,
    pub once: Once,
    /// One stage at a time runs the hooks before the night.
    pub before_night: Arc<Mutex<()>>,
    pub stop: Stop,
    /// The limit of all pulls of the night together.
    pub pulls: Bandwidth,
    /// The stage has ended at its `until`, and only its last transfers continue.
    pub is_over: Arc<AtomicBool>,
}

/// The time for work that begins after `until`.
const CATCH_UP_TIME: std::time::Duration = std::time::Duration::from_secs(600);

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageEnd {
    pub outcome: Outcome,
    pub reason: Option<String>,
    /// A retry may succeed.
    pub retry: bool,
    /// Something arrived that was missing when the archive was packed.
    pub gained: bool,
}

/// The transfers that a stage left running at its `until`. Each returns whether it brought a set.
#[derive(Default)]
pub struct Beside(pub Vec<BoxFuture<'static, bool>>);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}

/// How a stage ended, and what of it continues beside the night.
#[derive(Debug)]
pub struct Ended {
    pub end: StageEnd,
    pub beside: Beside,
}

impl From<StageEnd> for Ended {
    fn from(end: StageEnd) -> Self {
        Self { end, beside: Beside::default() }
    }
}

impl StageEnd {
    pub const fn done() -> Self {
        Self { outcome: Outcome::Done, reason: None, retry: false, gained: false }
    }

    pub fn degraded(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Degraded, reason: Some(reason.into()), retry: false, gained: false }
    }

    /// Failed for a reason that may pass by itself.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, reason: Some(reason.into()), retry: true, gained: false }
    }

    /// Failed until an operator changes something.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self { retry: false, ..Self::failed(reason) }
    }
}

impl StageContext {
    /// The plan of the restore that tonight proves.
    pub fn restored_by(&self) -> Option<Text> {
        self.record.look(|record| record.and_then(|record| record.restored.clone()))
    }

    /// Whether all hosts run tonight's extra night at the same time.
    pub fn is_common(&self) -> bool {
        self.record.look(|record| record.is_some_and(Record::is_common))
    }

    pub fn stage_settings(&self) -> &StageSettings {
        self.settings.stages.get(self.stage)
    }

    /// Runs work that blocks on a thread of its own, with a clone of this context.
    pub async fn offload<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let ctx = self.clone();
        offload::run(move || work(&ctx)).await
    }

    /// Writes a step to the record, on disk before this returns.
    pub async fn note(&self, step: Step) -> Result<(), StoreError> {
        self.offload(move |ctx| ctx.record.note(step)).await
    }

    /// Writes an event to the journal, with this night and stage.
    pub fn log(&self, event: Event) {
        self.audit.emit(&Event { night: Some(self.night), stage: Some(self.stage), ..event });
    }

    /// Whether a set that arrives now counts as late.
    pub fn is_late(&self) -> bool {
        self.why == StartReason::MissingSets || self.is_over.load(Ordering::Relaxed)
    }

    /// When work that begins now has to end.
    pub fn end(&self) -> tokio::time::Instant {
        let left = self.time_left();
        tokio::time::Instant::now() + if left.is_zero() { CATCH_UP_TIME } else { left }
    }

    /// When work with one of several hosts or remotes has to end, of which `left` are not finished, this one included: a slow one
    /// costs only itself.
    pub fn share(&self, left: usize) -> tokio::time::Instant {
        let now = tokio::time::Instant::now();
        now + self.end().duration_since(now) / u32::try_from(left.max(1)).unwrap_or(u32::MAX)
    }

    /// The time until `until`; zero after it.
    pub fn time_left(&self) -> std::time::Duration {
        self.until.duration_since(Timestamp::now()).try_into().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::role::Role;
    use tokio::time::Instant;

    use super::*;
    use crate::testing;

    #[test]
    fn a_slow_master_or_remote_uses_its_share_of_the_time_and_leaves_theirs_to_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Node)]);
        let mut ctx = testing::context(settings, "2026-11-22", Stage::MirrorMasters);
        let share = |ctx: &StageContext, left| ctx.share(left).duration_since(Instant::now()).as_secs();
        ctx.until = Timestamp::now() + jiff::SignedDuration::from_secs(600);
        assert!((195..=200).contains(&share(&ctx, 3)) && (595..=600).contains(&share(&ctx, 1)));
        ctx.until = Timestamp::now();
        assert!((295..=300).contains(&share(&ctx, 2)), "of the time for what is caught up after `until`");
        assert!((595..=600).contains(&share(&ctx, 0)));
    }
}
