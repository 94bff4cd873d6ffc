//! Carries a plan out: group by group, on all machines of a group at the same time. The same command continues an interrupted plan:
//! each machine says whether an act was done.

mod join;
mod lines;
mod night;
mod undo;

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::restore::act::{Act, FileKind, Outcome};
use nightshift_core::restore::copy::CopyKind;
use nightshift_core::restore::join::Join;
use nightshift_core::restore::machine::{Machine, PlannedFile};
use nightshift_core::restore::steps::{Action, Group, Step, groups};
use nightshift_core::restore::{Plan, RemoteLogin};
use nightshift_store::{AppendLog, replace_file};

use crate::call::{CallError, Content, PARALLEL, call};
use crate::data::{self, Data};
use crate::directory::{Directory, LogLine, StepEnd};
use crate::error::RestoreError;
use crate::login::{Login, known_as};
use crate::member::Members;
use crate::progress::Progress;
use crate::remote;

/// How the note of a night that is not complete begins.
pub const DEGRADED: &str = "degraded: ";

pub struct Conductor<'a> {
    pub login: &'a Login,
    pub directory: &'a Directory,
    pub plan: &'a Plan,
    pub data: Option<&'a Data>,
}

/// How the plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Complete,
    /// Nodes that were not reachable: the same command does them later.
    Later(Vec<HostName>),
    /// All is restored, but these hosts' extra night is not complete.
    Degraded(Vec<String>),
    /// The steps that failed, with their reasons.
    Failed(Vec<String>),
}

/// What the machines returned and later acts need.
#[derive(Debug, Default)]
struct Collected {
    /// Lines of known_hosts.
    pins: Vec<String>,
    /// Of each master: the line that authorizes it for its peers, then those for the remotes in their order.
    keys: BTreeMap<HostName, Vec<String>>,
    later: Vec<HostName>,
    /// The name of the extra night.
    night: Option<Night>,
    /// What the extra night lacks.
    degraded: Vec<String>,
}

impl Conductor<'_> {
    pub async fn apply(&self, progress: &mut dyn Progress) -> Result<Ending, RestoreError> {
        // Before anything is stopped.
        if self.directory.log_lines()?.is_empty() {
            if let Some(join) = self.plan.joins_living() {
                // Its own member may be the one that makes the majority.
                self.members().require_quorum(join).await.map_err(RestoreError::Refused)?;
            }
            self.require_lost_quorum().await?;
        }
        self.carry_out(groups(self.plan), progress).await
    }

    /// The data of a survivor replaces that of all members only while none of them has a leader. Before the first stop, this may have changed
    /// since the plan was made.
    pub async fn require_lost_quorum(&self) -> Result<(), RestoreError> {
        match &self.plan.etcd {
            Some(etcd) if etcd.copy.kind == CopyKind::Survivor => {
                self.members().require_no_leader().await.map_err(RestoreError::Refused)
            }
            _ => Ok(()),
        }
    }

    async fn carry_out(
        &self,
        groups: Vec<Group>,
        progress: &mut dyn Progress,
    ) -> Result<Ending, RestoreError> {
        let mut log = self.directory.log()?;
        let mut collected = Collected::default();
        for group in groups {
            let steps: Vec<Step> =
                group.steps.into_iter().filter(|step| !collected.later.contains(&step.host)).collect();
            for step in &steps {
                append(&mut log, step, None)?;
            }
            if steps.iter().any(night::is_common) {
                collected.night = night::common(self.login, self.directory, self.plan, &steps).await?;
            }
            let perform = |step| {
                let collected = &collected;
                async move { (step, self.perform(step, collected).await) }
            };
            let running = steps.iter().map(perform);
            let mut running = stream::iter(running).buffer_unordered(PARALLEL);
            let mut ended = Vec::new();
            let mut failed = Vec::new();
            while let Some((step, result)) = running.next().await {
                let end = self.end(step, &result);
                append(&mut log, step, Some(end.clone()))?;
                progress.ended(step, &end);
                if let StepEnd::Failed { reason } = &end {
                    failed.push(format!("{} {}: {}: {reason}", step.number, step.host, step.action.title()));
                }
                ended.push((step, result, end));
            }
            drop(running);
            if group_reads_keys(&ended) {
                collected.pins.extend(self.remote_pins(progress).await);
            }
            for (step, result, end) in ended {
                self.collect(&mut collected, step, result.ok(), &end);
            }
            if !failed.is_empty() {
                failed.sort();
                return Ok(Ending::Failed(failed));
            }
        }
        if collected.night.is_some() && !collected.degraded.is_empty() {
            night::forget(self.directory)?;
        }
        Ok(match (collected.later.is_empty(), collected.degraded.is_empty()) {
            (false, _) => Ending::Later(collected.later),
            (true, false) => Ending::Degraded(collected.degraded),
            (true, true) => Ending::Complete,
        })
    }

    async fn perform(&self, step: &Step, collected: &Collected) -> Result<Outcome, CallError> {
        let machine = self.plan.machine(&step.host);
        let machine = machine.ok_or_else(|| CallError::Failed("the plan has no such machine".to_owned()))?;
        let (act, content) = match &step.action {
            Action::Act(Act::Night { stages, .. }) => {
                (Act::Night { stages: stages.clone(), night: collected.night }, Vec::new())
            }
            Action::Act(act) => (act.clone(), Vec::new()),
            Action::PutFiles => self.files(machine, |path| !self.plan.is_put_later(machine, path)),
            Action::PutPods(kind) => {
                let pods = machine.pods.as_ref().map(|pods| pods.of(*kind));
                self.files(machine, |path| pods.is_some_and(|pods| pods.has(path)))
            }
            Action::PutData => self.member_data(machine)?,
            Action::Pin => (Act::Pin { lines: collected.pins.clone() }, Vec::new()),
            Action::Authorize => {
                let lines = collected.keys.values().filter_map(|lines| lines.first().cloned()).collect();
                (Act::Authorize { lines }, Vec::new())
            }
            Action::AuthorizeAtRemotes => return Ok(self.at_remotes(&step.host, collected).await),
            Action::Compare | Action::Write => return self.with_members(step).await,
            Action::Replace | Action::Promote => return self.with_others(step).await,
            Action::PutJoinConfig => {
                join::put_config(&self.members(), self.directory, self.join(step)?, machine).await?
            }
            Action::PutConfig => {
                let config = self.plan.join_of(&step.host).map(|join| join.config.as_str());
                self.files(machine, |path| Some(path) == config)
            }
        };
        call(self.login, machine, &self.plan.id, &step.number, act, content).await
    }

    /// The operator may have no shell at a remote: then the line is added by hand.
    async fn at_remotes(&self, host: &HostName, collected: &Collected) -> Outcome {
        let lines = collected.keys.get(host).map_or(&[][..], |lines| lines.get(1..).unwrap_or_default());
        let mut notes = Vec::new();
        for (remote, line) in self.plan.remotes.iter().zip(lines) {
            if let Err(reason) = remote::authorize(self.login, remote, line).await {
                notes.push(self.by_hand(remote, host, line, &reason));
            }
        }
        Outcome { notes: notes.into_iter().collect(), ..Outcome::default() }
    }

    /// A note is too short for a key, so the line is in a file.
    fn by_hand(&self, remote: &RemoteLogin, host: &HostName, line: &str, reason: &str) -> String {
        let file = format!("authorize-{}-{host}.txt", remote.name);
        match replace_file(&self.directory.path().join(&file), format!("{line}\n").as_bytes()) {
            Ok(()) => {
                format!("add the line in {file} to the authorized_keys of {} by hand: {reason}", remote.name)
            }
            Err(error) => format!(
                "run `nightshift keys authorize --remote {}` on {host}: {}",
                remote.name,
                chain(&error)
            ),
        }
    }

    /// The remotes' keys, which the operator's ssh knows.
    async fn remote_pins(&self, progress: &mut dyn Progress) -> Vec<String> {
        let mut pins = Vec::new();
        for remote in &self.plan.remotes {
            match remote::pins(self.login, remote).await {
                Ok(found) if !found.is_empty() => pins.extend(found),
                Ok(_) => progress.note(&format!(
                    "your known_hosts has no key of remote {}; pin it on each master with `nightshift trust {}`",
                    remote.name, remote.name
                )),
                Err(reason) => progress.note(&format!("remote {}: {reason}", remote.name)),
            }
        }
        pins
    }

    /// Whether a run of this plan has begun such a step.
    fn has_begun(&self, is_it: impl Fn(&Step) -> bool) -> Result<bool, RestoreError> {
        let last = self.directory.last_lines()?;
        let mut steps = groups(self.plan).into_iter().flat_map(|group| group.steps).filter(is_it);
        Ok(steps.any(|step| last.contains_key(&(step.number, step.host))))
    }

    fn members(&self) -> Members<'_> {
        let revision = self.data.map_or(0, |data| data.revision);
        Members { login: self.login, directory: self.directory, plan: self.plan, revision }
    }

    async fn with_members(&self, step: &Step) -> Result<Outcome, CallError> {
        let members = self.members();
        let missing = || CallError::Failed("the plan has no etcd".to_owned());
        let notes = if step.action == Action::Compare {
            members.compare().await.map_err(CallError::Failed)?
        } else {
            let member = self.plan.member(&step.host).ok_or_else(missing)?;
            members.write(member).await.map_err(CallError::Failed)?;
            Vec::new()
        };
        Ok(Outcome { changed: false, notes: notes.into_iter().collect(), ..Outcome::default() })
    }

    fn join(&self, step: &Step) -> Result<&Join, CallError> {
        let missing = || CallError::Failed("the plan has no member that joins".to_owned());
        self.plan.join_of(&step.host).ok_or_else(missing)
    }

    /// By way of the other members.
    async fn with_others(&self, step: &Step) -> Result<Outcome, CallError> {
        let join = self.join(step)?;
        if step.action == Action::Promote {
            return join::promote(&self.members(), join).await;
        }
        // From then on it is the new member that would be removed.
        let has_begun = self.has_begun(|other| other.host == step.host && other.is_etcd_start());
        if has_begun.map_err(|error| CallError::Failed(chain(&error)))? {
            return Ok(Outcome::default());
        }
        join::replace(&self.members(), join).await
    }

    /// Those files of a machine that are put in place in this step.
    fn files(&self, machine: &Machine, is_chosen: impl Fn(&str) -> bool) -> (Act, Content) {
        let chosen: Vec<&PlannedFile> =
            machine.files.iter().filter(|planned| is_chosen(&planned.file.path)).collect();
        let is_file = |kind: &FileKind| matches!(kind, FileKind::File { .. });
        let with_content = chosen.iter().filter(|planned| is_file(&planned.file.kind));
        let content: Vec<PathBuf> =
            with_content.map(|planned| self.directory.set(&planned.set).join(&planned.item)).collect();
        let files = chosen.into_iter().map(|planned| planned.file.clone()).collect();
        (Act::PutFiles { files }, content)
    }

    fn member_data(&self, machine: &Machine) -> Result<(Act, Content), CallError> {
        let missing = || CallError::Failed("the plan has no data for this member".to_owned());
        let member = self.plan.member(&machine.host).ok_or_else(missing)?;
        let made = self.data.and_then(|data| data.members.get(&member.host)).ok_or_else(missing)?;
        let act = Act::PutData { directory: member.data.clone(), size: made.size, sha256: made.sha256 };
        Ok((act, vec![data::file(self.directory, &machine.host)]))
    }

    /// A node that fails is done later, by the same command: the masters do not wait for it. Masters and members must all be there.
    fn end(&self, step: &Step, result: &Result<Outcome, CallError>) -> StepEnd {
        match result {
            Ok(outcome) => StepEnd::Done {
                changed: outcome.changed,
                notes: outcome.notes.iter().map(ToString::to_string).collect(),
            },
            Err(error) if self.is_node_only(&step.host) => StepEnd::Later { reason: chain(error) },
            Err(error) => StepEnd::Failed { reason: chain(error) },
        }
    }

    fn is_node_only(&self, host: &HostName) -> bool {
        self.plan.machine(host).is_some_and(Machine::is_node_only)
    }

    fn collect(&self, collected: &mut Collected, step: &Step, outcome: Option<Outcome>, end: &StepEnd) {
        if matches!(end, StepEnd::Later { .. }) {
            collected.later.push(step.host.clone());
        }
        let (Some(outcome), Some(machine)) = (outcome, self.plan.machine(&step.host)) else { return };
        match &step.action {
            Action::Act(Act::HostKeys) => {
                let names = names_of(machine);
                let keys = outcome.lines.iter().filter(|line| lines::is_key(line));
                collected.pins.extend(keys.map(|key| format!("{names} {key}")));
            }
            Action::Act(Act::Night { .. }) => {
                let notes = outcome.notes.iter().filter(|note| note.starts_with(DEGRADED));
                collected.degraded.extend(notes.map(|note| format!("{}: {note}", step.host)));
            }
            Action::Act(Act::Identities { .. }) => {
                // What a machine returns is added to the authorized keys of all others: only with the limits that ours have.
                let lines = outcome.lines.into_iter().filter(|line| lines::is_restricted(line)).collect();
                collected.keys.insert(step.host.clone(), lines);
            }
            _ => {}
        }
    }
}

fn group_reads_keys<R, E>(ended: &[(&Step, R, E)]) -> bool {
    ended.iter().any(|(step, ..)| step.action == Action::Act(Act::HostKeys))
}

/// The names under which a host is looked up in known_hosts.
fn names_of(machine: &Machine) -> String {
    let mut names = vec![machine.host.as_str()];
    if machine.address != machine.host.as_str() {
        names.push(&machine.address);
    }
    let known = names.into_iter().map(|name| known_as(name, machine.port));
    known.collect::<Vec<_>>().join(",")
}

fn append(log: &mut AppendLog<LogLine>, step: &Step, end: Option<StepEnd>) -> Result<(), RestoreError> {
    Ok(log.append(&LogLine {
        at: Timestamp::now(),
        step: step.number.clone(),
        host: step.host.clone(),
        what: step.action.title(),
        end,
    })?)
}
