//! Undoing a plan.

use nightshift_core::restore::act::Act;
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
        if self.plan.joins_living().is_some() && self.has_begun(|step| step.action == Action::Replace)? {
            return Err(RestoreError::Refused(
                "a member that has joined a living cluster is not undone: its old data is older than what the cluster has accepted since; to go back to a \
                 snapshot, restore etcd as a whole with `restore plan --only etcd`"
                    .to_owned(),
            ));
        }
        if !discard_writes && !self.is_stopped()? {
            self.require_no_writes().await?;
        }
        self.directory.set_undone()?;
        self.carry_out(undo(self.plan), progress).await
    }

    /// Whether an undo has stopped everything.
    fn is_stopped(&self) -> Result<bool, RestoreError> {
        let last = self.directory.last_lines()?;
        let is_done = |step: &Step| {
            let line = last.get(&(step.number.clone(), step.host.clone()));
            matches!(line.and_then(|line| line.end.as_ref()), Some(StepEnd::Done { .. }))
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
        if self.plan.etcd.is_none() || !self.has_begun(Step::is_etcd_start)? {
            return Ok(());
        }
        if self.plan.etcd.as_ref().is_some_and(|etcd| etcd.copy.v2) {
            return Err(RestoreError::Refused(
                "etcd has v2 keys, and whether they were written since is unknown; to undo the plan and lose what was written, use --discard-writes"
                    .to_owned(),
            ));
        }
        let steps = groups(self.plan).into_iter().flat_map(|group| group.steps);
        let writes: Vec<String> = steps
            .filter(|step| matches!(step.action, Action::Compare | Action::Write))
            .map(|step| step.number)
            .collect();
        // A key is written and deleted. Of a step that was interrupted it is unknown.
        let is_ended =
            |line: &&LogLine| writes.contains(&line.step) && matches!(line.end, Some(StepEnd::Done { .. }));
        let ended = self.directory.log_lines()?.iter().filter(is_ended).count();
        let own = i64::try_from(2 * ended).unwrap_or(i64::MAX);
        let refused = |reason: String| {
            RestoreError::Refused(format!(
                "{reason}; to undo the plan and lose these writes, use --discard-writes"
            ))
        };
        let newest =
            self.members().newest_revision().await.map_err(|reason| {
                refused(format!("cannot check whether etcd has accepted writes: {reason}"))
            })?;
        let expected = self.data.map_or(0, |data| data.revision) + own;
        if newest > expected {
            return Err(refused(format!(
                "etcd has accepted writes since it was restored: it is at revision {newest}, and this plan itself has written up to {expected}"
            )));
        }
        Ok(())
    }
}
