//! The steps of a member that joins the others of a living cluster.

use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::name::HostName;
use nightshift_core::restore::act::{Act, FileKind, FileSpec, Outcome};
use nightshift_core::restore::evidence::MAX_TEXT;
use nightshift_core::restore::join::joining;
use nightshift_core::restore::machine::Machine;
use nightshift_core::restore::steps::{Action, Step, groups};
use nightshift_store::{read_bounded, replace_file};

use super::Conductor;
use crate::call::{CallError, Content};
use crate::error::RestoreError;

/// etcd's configuration with which a member joins.
const JOIN: &str = "join.conf";

impl Conductor<'_> {
    /// The member that joins the others.
    pub(super) async fn with_others(&self, step: &Step) -> Result<Outcome, CallError> {
        let missing = || CallError::Failed("the plan has no member that joins".to_owned());
        let join = self.plan.join.as_ref().ok_or_else(missing)?;
        if step.action == Action::Promote {
            let notes = self.members().promote(join).await.map_err(CallError::Failed)?;
            return Ok(Outcome { notes: notes.into_iter().collect(), ..Outcome::default() });
        }
        // From then on it is the new member that would be removed.
        if self.has_begun_to_start(&step.host).map_err(|error| CallError::Failed(chain(&error)))? {
            return Ok(Outcome::default());
        }
        let notes = self.members().replace(join).await.map_err(CallError::Failed)?;
        Ok(Outcome { changed: true, notes: notes.into_iter().collect(), ..Outcome::default() })
    }

    /// Whether a run of this plan has begun to start etcd on this machine.
    fn has_begun_to_start(&self, host: &HostName) -> Result<bool, RestoreError> {
        let is_start =
            |step: &Step| step.host == *host && matches!(step.action, Action::Act(Act::Start { .. }));
        let mut steps =
            groups(self.plan).into_iter().filter(|group| group.step == 4).flat_map(|group| group.steps);
        let Some(start) = steps.find(is_start) else { return Ok(false) };
        let lines = self.directory.log_lines()?;
        Ok(lines.iter().any(|line| line.step == start.number && line.host == *host))
    }

    pub(super) async fn join_config(&self, machine: &Machine) -> Result<(Act, Content), CallError> {
        let failed = |error: RestoreError| CallError::Failed(chain(&error));
        let missing =
            || CallError::Failed("the plan has no configuration for a member that joins".to_owned());
        let join = self.plan.join.as_ref().ok_or_else(missing)?;
        let planned =
            machine.files.iter().find(|planned| planned.file.path == join.config).ok_or_else(missing)?;
        let file = self.directory.path().join(JOIN);
        // The first run's: while the member is added, the list of members changes.
        if !file.exists() {
            let initial_cluster = self.members().initial_cluster(join).await.map_err(CallError::Failed)?;
            let path = self.directory.set(&planned.set).join(&planned.item);
            let text = read_bounded(&path, MAX_TEXT).map_err(|error| failed(error.into()))?;
            let text = joining(&String::from_utf8_lossy(&text), &initial_cluster).ok_or_else(missing)?;
            replace_file(&file, text.as_bytes()).map_err(|error| failed(error.into()))?;
        }
        let content = read_bounded(&file, MAX_TEXT).map_err(|error| failed(error.into()))?;
        let kind = FileKind::File { size: content.len() as u64, sha256: Digest::of(&content) };
        let spec = FileSpec { kind, ..planned.file.clone() };
        Ok((Act::PutFiles { files: vec![spec] }, vec![file]))
    }
}
