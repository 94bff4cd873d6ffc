//! Undoing a plan.

use nightshift_core::restore::act::Act;
use nightshift_core::restore::etcd::BUMP;
use nightshift_core::restore::steps::{Action, Step, groups, undo};

use super::{Conductor, Ending};
use crate::call::call;
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
        if self.plan.join.is_some() && self.has_begun(&|step| step.action == Action::Replace)? {
            return Err(RestoreError::Refused(
                "a member that has joined a living cluster is not undone: its old data is older than what the cluster has accepted since"
                    .to_owned(),
            ));
        }
        // Once it has begun, etcd is stopped.
        let has_stopped = self.is_stopped()?;
        if !discard_writes && !has_stopped {
            self.require_no_writes().await?;
        }
        self.directory.set_undone()?;
        self.carry_out(undo(self.plan), progress).await
    }

    /// Whether a step of the plan has begun.
    fn has_begun(&self, is_it: &dyn Fn(&Step) -> bool) -> Result<bool, RestoreError> {
        let lines = self.directory.log_lines()?;
        let mut steps = groups(self.plan).into_iter().flat_map(|group| group.steps).filter(is_it);
        Ok(steps.any(|step| lines.iter().any(|line| line.step == step.number)))
    }

    /// Whether an undo has stopped everything.
    fn is_stopped(&self) -> Result<bool, RestoreError> {
        let lines = self.directory.log_lines()?;
        let is_done = |step: &Step| {
            lines
                .iter()
                .any(|line| line.step == step.number && matches!(line.end, Some(StepEnd::Done { .. })))
        };
        Ok(undo(self.plan).first().is_some_and(|group| group.steps.iter().all(is_done)))
    }

    /// Ends a plan that is not continued, as far as its machines can be reached.
    pub async fn release(&self) {
        for machine in &self.plan.machines {
            let _best_effort =
                call(self.login, machine, &self.plan.id, "release", Act::Finish, Vec::new()).await;
        }
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
