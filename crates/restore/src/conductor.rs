//! Carries a plan out: group by group, on all machines of a group at the same time. The same command continues an interrupted plan:
//! each machine says whether an act was done.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use nightshift_core::name::HostName;
use nightshift_core::restore::Plan;
use nightshift_core::restore::act::{Act, FileKind, Outcome};
use nightshift_core::restore::machine::Machine;
use nightshift_core::restore::steps::{Action, Step, groups};
use nightshift_core::role::Role;
use nightshift_store::AppendLog;

use crate::call::{CallError, Content, call};
use crate::data::{self, Data};
use crate::directory::{Directory, LogLine, StepEnd};
use crate::error::RestoreError;
use crate::login::Login;
use crate::member::Members;
use crate::progress::Progress;
use crate::remote;

/// How many machines are worked on at the same time.
const PARALLEL: usize = 16;

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
}

impl Conductor<'_> {
    pub async fn apply(&self, progress: &mut dyn Progress) -> Result<Ending, RestoreError> {
        let mut log = self.directory.log()?;
        let mut collected = Collected::default();
        for group in groups(self.plan) {
            let steps: Vec<Step> =
                group.steps.into_iter().filter(|step| !collected.later.contains(&step.host)).collect();
            for step in &steps {
                append(&mut log, step, None)?;
                progress.began(step);
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
            let ended: Vec<_> =
                ended.into_iter().map(|(step, result, end)| (step.clone(), result, end)).collect();
            for (step, result, end) in ended {
                self.collect(&mut collected, &step, result.ok(), &end);
            }
            if !failed.is_empty() {
                failed.sort();
                return Ok(Ending::Failed(failed));
            }
        }
        Ok(if collected.later.is_empty() { Ending::Complete } else { Ending::Later(collected.later) })
    }

    async fn perform(&self, step: &Step, collected: &Collected) -> Result<Outcome, CallError> {
        let machine = self.plan.machine(&step.host);
        let machine = machine.ok_or_else(|| CallError::Failed("the plan has no such machine".to_owned()))?;
        let (act, content) = match &step.action {
            Action::Act(act) => (act.clone(), Vec::new()),
            Action::PutFiles => self.files(machine),
            Action::PutData => self.member_data(machine)?,
            Action::Pin => (Act::Pin { lines: collected.pins.clone() }, Vec::new()),
            Action::Authorize => {
                let lines = collected.keys.values().filter_map(|lines| lines.first().cloned()).collect();
                (Act::Authorize { lines }, Vec::new())
            }
            Action::AuthorizeAtRemotes => return Ok(self.at_remotes(&step.host, collected).await),
            Action::Compare | Action::Write => return self.with_members(step).await,
        };
        call(self.login, machine, &self.plan.id, &step.number, act, content).await
    }

    /// The operator may have no shell at a remote: then the line is shown, to be added by hand.
    async fn at_remotes(&self, host: &HostName, collected: &Collected) -> Outcome {
        let lines = collected.keys.get(host).map_or(&[][..], |lines| lines.get(1..).unwrap_or_default());
        let mut notes = Vec::new();
        for (remote, line) in self.plan.remotes.iter().zip(lines) {
            if let Err(reason) = remote::authorize(self.login, remote, line).await {
                notes.push(format!(
                    "add this line to the authorized_keys of {} by hand ({reason}): {line}",
                    remote.name
                ));
            }
        }
        Outcome { notes: notes.into_iter().collect(), ..Outcome::default() }
    }

    /// The remotes' keys, which the operator's ssh knows.
    async fn remote_pins(&self, progress: &mut dyn Progress) -> Vec<String> {
        let mut pins = Vec::new();
        for remote in &self.plan.remotes {
            match remote::pins(self.login, remote).await {
                Ok(found) if !found.is_empty() => pins.extend(found),
                Ok(_) => progress.note(&format!(
                    "your ssh knows no host key of remote {}: pin it on each master with `nightshift trust {}`",
                    remote.name, remote.name
                )),
                Err(reason) => progress.note(&format!("remote {}: {reason}", remote.name)),
            }
        }
        pins
    }

    async fn with_members(&self, step: &Step) -> Result<Outcome, CallError> {
        let members = Members { login: self.login, directory: self.directory, plan: self.plan };
        let missing = || CallError::Failed("the plan has no etcd".to_owned());
        let etcd = self.plan.etcd.as_ref().ok_or_else(missing)?;
        let notes = if step.action == Action::Compare {
            members.compare(etcd).await.map_err(CallError::Failed)?
        } else {
            let member = self.plan.member(&step.host).ok_or_else(missing)?;
            members.write(member).await.map_err(CallError::Failed)?;
            Vec::new()
        };
        Ok(Outcome { changed: false, notes: notes.into_iter().collect(), ..Outcome::default() })
    }

    fn files(&self, machine: &Machine) -> (Act, Content) {
        let is_file = |kind: &FileKind| matches!(kind, FileKind::File { .. });
        let with_content = machine.files.iter().filter(|planned| is_file(&planned.file.kind));
        let content: Vec<PathBuf> =
            with_content.map(|planned| self.directory.set(&planned.set).join(&planned.item)).collect();
        let files = machine.files.iter().map(|planned| planned.file.clone()).collect();
        (Act::PutFiles { files }, content)
    }

    fn member_data(&self, machine: &Machine) -> Result<(Act, Content), CallError> {
        let missing = || CallError::Failed("the plan has no data for this member".to_owned());
        let member = self.plan.member(&machine.host).ok_or_else(missing)?;
        let made = self.data.and_then(|data| data.of(member)).ok_or_else(missing)?;
        let act = Act::PutData { directory: member.data.clone(), size: made.size, sha256: made.sha256 };
        Ok((act, vec![data::file(self.directory, &machine.host)]))
    }

    /// A node that is down is done later; masters and members must all be there.
    fn end(&self, step: &Step, result: &Result<Outcome, CallError>) -> StepEnd {
        match result {
            Ok(outcome) => StepEnd::Done {
                changed: outcome.changed,
                notes: outcome.notes.iter().map(ToString::to_string).collect(),
            },
            Err(error) if error.is_not_connected() && self.is_node_only(&step.host) => {
                StepEnd::Later { reason: error.reason() }
            }
            Err(error) => StepEnd::Failed { reason: error.reason() },
        }
    }

    fn is_node_only(&self, host: &HostName) -> bool {
        self.plan.machine(host).is_some_and(|machine| machine.roles == [Role::Node])
    }

    fn collect(&self, collected: &mut Collected, step: &Step, outcome: Option<Outcome>, end: &StepEnd) {
        if matches!(end, StepEnd::Later { .. }) {
            collected.later.push(step.host.clone());
        }
        let (Some(outcome), Some(machine)) = (outcome, self.plan.machine(&step.host)) else { return };
        match &step.action {
            Action::Act(Act::HostKeys) => {
                let names = names_of(machine);
                collected.pins.extend(outcome.lines.iter().map(|key| format!("{names} {key}")));
            }
            Action::Act(Act::Identities { .. }) => {
                collected.keys.insert(step.host.clone(), outcome.lines);
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
    let with_port = |name: &&str| {
        if machine.port == 22 { (*name).to_owned() } else { format!("[{name}]:{}", machine.port) }
    };
    names.iter().map(with_port).collect::<Vec<_>>().join(",")
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
