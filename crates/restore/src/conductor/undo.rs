//! Undoing a plan.

use nightshift_core::restore::act::Act;
use nightshift_core::restore::etcd::BUMP;
use nightshift_core::restore::steps::{Action, Step, groups, undo};

use super::{Conductor, Ending};
use crate::directory::{LogLine, StepEnd};
use crate::error::RestoreError;
use crate::progress::Progress;

impl Conductor<'_> {
    /// Undoes the plan. `discard_writes`: also if etcd has accepted writes since, or may have.
    pub async fn undo(
        &self,
        discard_writes: bool,
        progress: &mut dyn Progress,
    ) -> Result<Ending, RestoreError> {
        if self.plan.join.is_some() {
            return Err(RestoreError::Refused(
                "a member that has joined a living cluster is not undone: its old data is older than what the cluster has accepted since"
                    .to_owned(),
            ));
        }
        // Once it has begun, etcd is stopped.
        if !discard_writes && !self.directory.is_undone() {
            self.require_no_writes().await?;
        }
        self.directory.set_undone()?;
        self.carry_out(undo(self.plan), progress).await
    }

    /// Undoing loses what was written since. Only the writes of this plan's own test are known.
    async fn require_no_writes(&self) -> Result<(), RestoreError> {
        let Some(etcd) = &self.plan.etcd else { return Ok(()) };
        let steps: Vec<Step> = groups(self.plan).into_iter().flat_map(|group| group.steps).collect();
        let lines = self.directory.log_lines()?;
        let lines_of = |is_it: &dyn Fn(&Step) -> bool| -> Vec<&LogLine> {
            let numbers: Vec<&String> =
                steps.iter().filter(|step| is_it(step)).map(|step| &step.number).collect();
            lines.iter().filter(|line| numbers.contains(&&line.step)).collect()
        };
        let is_start = |step: &Step| {
            step.number.starts_with("4.") && matches!(step.action, Action::Act(Act::Start { .. }))
        };
        if lines_of(&is_start).is_empty() {
            return Ok(());
        }
        // A key is written and deleted. Of a step that was interrupted it is unknown.
        let writes = lines_of(&|step| step.action == Action::Write);
        let ended = writes.iter().filter(|line| matches!(line.end, Some(StepEnd::Done { .. }))).count();
        let own = i64::try_from(2 * ended).unwrap_or(i64::MAX);
        let refused = |reason: String| {
            RestoreError::Refused(format!(
                "{reason}; to undo the plan and lose these writes, use --discard-writes"
            ))
        };
        let newest = self.members().newest_revision().await.map_err(|reason| {
            refused(format!("whether etcd has accepted writes cannot be checked: {reason}"))
        })?;
        let expected = etcd.snapshot.revision + BUMP + own;
        if newest > expected {
            return Err(refused(format!(
                "etcd has accepted writes since it was restored: it is at revision {newest}, and this plan itself has written up to {expected}"
            )));
        }
        Ok(())
    }
}
