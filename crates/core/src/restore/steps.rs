//! The acts of a plan in their order. Those of one group run at the same time on all their machines; a group begins when the one before
//! it has ended everywhere.

use crate::etcd_facts::RunsAs;
use crate::name::HostName;
use crate::restore::act::Act;
use crate::restore::etcd::Member;
use crate::restore::machine::Machine;
use crate::restore::parts::{MachineKind, has_services};
use crate::restore::pods::{PodKind, Pods, StaticPods};
use crate::restore::scope::Scope;
use crate::restore::{Plan, units};
use crate::role::Role;

/// How long a unit may take to become active, in seconds: the API server waits for etcd.
const START_SECONDS: u64 = 300;

/// Acts that may run at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The number of the runbook's step: 3 to 7.
    pub step: u8,
    pub steps: Vec<Step>,
}

/// One line of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `4.3`.
    pub number: String,
    pub host: HostName,
    pub action: Action,
}

/// What is done in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// On the machine, complete as it is.
    Act(Act),
    /// On the machine, with bytes or values that the operator's machine adds.
    PutFiles,
    PutData,
    /// Static pods of a master: its kubelet, which runs, starts them.
    PutPods(PodKind),
    /// The operator's machine sends requests to this member.
    Compare,
    Write,
    /// The operator's machine removes this member from the living cluster, and adds it again.
    Replace,
    /// etcd's configuration, with the options for the first start of a member that joins.
    PutJoinConfig,
    /// Waits until this member has the others' data, and makes it a voting member.
    Promote,
    /// etcd's configuration as the backup has it.
    PutConfig,
    /// The keys that all machines have now are pinned on this one.
    Pin,
    /// The masters' keys are authorized on this one.
    Authorize,
    /// The operator's machine authorizes this master's keys at the remotes.
    AuthorizeAtRemotes,
}

impl Step {
    /// Whether it is the start of a member.
    pub fn is_etcd_start(&self) -> bool {
        self.number.starts_with("4.") && matches!(self.action, Action::Act(Act::Start { .. }))
    }
}

impl Action {
    /// What it does, for the page and the log.
    pub fn title(&self) -> String {
        match self {
            Self::Act(Act::Facts(_) | Act::Look { .. }) => "look at the machine".to_owned(),
            Self::Act(Act::Hold { units }) => format!("hold {}, also over a reboot", listed(units, &[])),
            Self::Act(Act::Stop { units, manifests, .. }) => format!("stop {}", listed(units, manifests)),
            Self::Act(Act::PutData { .. }) | Self::PutData => "put etcd's data in place".to_owned(),
            Self::Act(Act::PutFiles { .. }) | Self::PutFiles => "put the files in place".to_owned(),
            Self::Act(Act::Settle { .. }) => "labels, trust store, systemd's units".to_owned(),
            Self::Act(Act::Start { units, manifests }) => format!("start {}", listed(units, manifests)),
            Self::Act(Act::Await { units, ports, .. }) if units.is_empty() => {
                format!("wait until {} accepts connections", ports.join(", "))
            }
            Self::Act(Act::Await { units, .. }) => format!("wait until {} is active", listed(units, &[])),
            Self::PutPods(PodKind::Api) => "start the API's pods by their manifests".to_owned(),
            Self::PutPods(PodKind::Controllers) => {
                "start the controllers' pods by their manifests".to_owned()
            }
            Self::Act(Act::HostKeys) => "read the host keys".to_owned(),
            Self::Act(Act::Identities { .. }) => "create nightshift's keys".to_owned(),
            Self::Act(Act::FreeNight) => "read the recorded nights".to_owned(),
            Self::Act(Act::Backup { night, .. }) => format!("back up in night {night}"),
            Self::Act(Act::Night { .. }) => "run an extra night".to_owned(),
            Self::Act(Act::Finish) => "end the restore".to_owned(),
            Self::Act(Act::Pin { .. }) | Self::Pin => "pin the new host keys".to_owned(),
            Self::Act(Act::Authorize { .. }) | Self::Authorize => {
                "authorize the masters' new keys".to_owned()
            }
            Self::AuthorizeAtRemotes => "authorize its new keys at the remotes".to_owned(),
            Self::Replace => "remove the old member, and add it again".to_owned(),
            Self::Act(Act::SetAside { .. }) => "move its old data aside".to_owned(),
            Self::PutJoinConfig => "put etcd's configuration for joining in place".to_owned(),
            Self::Promote => "wait until it has the others' data, and make it a voting member".to_owned(),
            Self::PutConfig => "put etcd's own configuration back".to_owned(),
            Self::Act(Act::UndoStop { units, manifests, .. }) => {
                format!("hold and stop {}", listed(units, manifests))
            }
            Self::Act(Act::Undo) => "move everything back".to_owned(),
            Self::Act(Act::UndoStart { .. }) => "start what ran before".to_owned(),
            Self::Compare => "compare all members: list, revision, counts, HashKV; disarm NOSPACE".to_owned(),
            Self::Write => "write a key through this member, read it, delete it".to_owned(),
        }
    }
}

/// Units by what they are, manifests by their paths.
fn listed(units: &[String], manifests: &[String]) -> String {
    let manifests = manifests.iter().map(String::as_str);
    units::kinds(units).into_iter().chain(manifests).collect::<Vec<_>>().join(", ")
}

/// All groups of a plan, numbered.
pub fn groups(plan: &Plan) -> Vec<Group> {
    let mut groups = Groups::default();
    if let Scope::Files { .. } = plan.scope {
        one_file(plan, &mut groups);
        return groups.0;
    }
    stop(plan, &mut groups);
    etcd(plan, &mut groups);
    files(&mut groups, 5, &plan.machines_of(MachineKind::Node));
    files(&mut groups, 6, &plan.machines_of(MachineKind::Master));
    start(plan, &mut groups);
    groups.0
}

/// The groups that undo a plan: everything is stopped on all machines before anything is moved back, and nothing starts before that.
pub fn undo(plan: &Plan) -> Vec<Group> {
    let mut groups = Groups::default();
    let all: Vec<&Machine> = plan.machines.iter().collect();
    groups.add(1, &all, |machine| {
        let member = plan.member(&machine.host);
        let of_pods = machine.pods.iter().flat_map(StaticPods::all).flat_map(|pods| pods.ports.clone());
        Action::Act(Act::UndoStop {
            units: plan.units(machine),
            manifests: plan.manifests(machine),
            ports: member.map(Member::addresses).into_iter().flatten().chain(of_pods).collect(),
            data: member.map(|member| member.data.path.to_string()).into_iter().collect(),
        })
    });
    groups.add(2, &all, |_| Action::Act(Act::Undo));
    groups.add(3, &all, |machine| Action::Act(Act::UndoStart { units: plan.units(machine) }));
    groups.add(4, &[&all[..], &plan.managed_others()].concat(), |_| Action::Act(Act::Finish));
    // In the log of the plan they are other steps than those of the runbook.
    for step in groups.0.iter_mut().flat_map(|group| &mut group.steps) {
        step.number = format!("undo-{}", step.number);
    }
    groups.0
}

#[derive(Debug, Default)]
struct Groups(Vec<Group>);

impl Groups {
    fn add(&mut self, step: u8, machines: &[&Machine], action: impl Fn(&Machine) -> Action) {
        let before: usize =
            self.0.iter().filter(|group| group.step == step).map(|group| group.steps.len()).sum();
        let numbered = machines.iter().zip(before + 1..).map(|(machine, number)| Step {
            number: format!("{step}.{number}"),
            host: machine.host.clone(),
            action: action(machine),
        });
        let steps: Vec<Step> = numbered.collect();
        if !steps.is_empty() {
            self.0.push(Group { step, steps });
        }
    }
}

/// The static pods of a kind; none where services run.
fn pods(machine: &Machine, kind: PodKind) -> Pods {
    machine.pods.as_ref().map(|pods| pods.of(kind).clone()).unwrap_or_default()
}

/// In this order nothing that still runs loses what it needs without a notice: controllers, API, kubelets, etcd. A kubelet must run to stop
/// its static pods.
fn stop(plan: &Plan, groups: &mut Groups) {
    let all: Vec<&Machine> = plan.machines.iter().collect();
    groups.add(3, &all, |machine| Action::Act(Act::Hold { units: plan.held(machine) }));
    let masters = plan.machines_with(Role::Master);
    let stop_kind = |machine: &Machine, names: &[&str], kind| {
        let Pods { manifests, ports } = pods(machine, kind);
        let units = if has_services(machine) { units::names(names) } else { Vec::new() };
        Action::Act(Act::Stop { units, manifests, ports, data: Vec::new() })
    };
    groups.add(3, &masters, |machine| stop_kind(machine, &units::CONTROLLERS, PodKind::Controllers));
    groups.add(3, &masters, |machine| stop_kind(machine, &units::API, PodKind::Api));
    let daemons = |machine: &Machine| match plan.etcd_pod(machine) {
        Some(_) => units::names(&units::NIGHTSHIFT[..1]),
        None => units::names(&[&units::NIGHTSHIFT[..1], &units::KUBELET].concat()),
    };
    groups.add(3, &all, |machine| {
        let none = Vec::new;
        Action::Act(Act::Stop { units: daemons(machine), manifests: none(), ports: none(), data: none() })
    });
    groups.add(3, &plan.machines_of(MachineKind::Etcd), |machine| {
        let (member, pod) = (plan.member(&machine.host), plan.etcd_pod(machine));
        let kubelet: &[&str] = if pod.is_some() { &units::KUBELET } else { &[] };
        Action::Act(Act::Stop {
            units: units::names(&[&units::ETCD, kubelet].concat()),
            manifests: pod.map(str::to_owned).into_iter().collect(),
            ports: member.map(Member::addresses).unwrap_or_default(),
            data: member.map(|member| member.data.path.to_string()).into_iter().collect(),
        })
    });
}

/// The files of machines that have some.
fn files(groups: &mut Groups, step: u8, machines: &[&Machine]) {
    let with_files: Vec<&Machine> =
        machines.iter().filter(|machine| !machine.files.is_empty()).copied().collect();
    groups.add(step, &with_files, |_| Action::PutFiles);
    groups.add(step, &with_files, |machine| Action::Act(settle(machine)));
}

fn one_file(plan: &Plan, groups: &mut Groups) {
    for (kind, step) in [(MachineKind::Etcd, 4), (MachineKind::Node, 5), (MachineKind::Master, 6)] {
        let machines = plan.machines_of(kind);
        files(groups, step, &machines);
        groups.add(step, &machines, |_| Action::Act(Act::Finish));
    }
}

fn etcd(plan: &Plan, groups: &mut Groups) {
    let machines = plan.machines_of(MachineKind::Etcd);
    files(groups, 4, &machines);
    let members: Vec<&Machine> =
        machines.into_iter().filter(|machine| plan.member(&machine.host).is_some()).collect();
    let (joining, alone): (Vec<&Machine>, Vec<&Machine>) =
        members.iter().partition(|machine| plan.join_of(&machine.host).is_some());
    groups.add(4, &alone, |_| Action::PutData);
    groups.add(4, &alone, |machine| start_member(plan, machine));
    // A member joins when the one before it votes: etcd accepts one change of its members at a time.
    for join in &plan.joins {
        let member: Vec<&Machine> =
            joining.iter().copied().filter(|machine| machine.host == join.member.host).collect();
        groups.add(4, &member, |_| Action::Replace);
        groups.add(4, &member, |_| Action::Act(Act::SetAside { directory: join.member.data.clone() }));
        groups.add(4, &member, |_| Action::PutJoinConfig);
        groups.add(4, &member, |machine| start_member(plan, machine));
        groups.add(4, &member, |_| Action::Promote);
        groups.add(4, &member, |_| Action::PutConfig);
    }
    // One comparison of all, by way of the first.
    groups.add(4, &members[..members.len().min(1)], |_| Action::Compare);
    groups.add(4, &members, |_| Action::Write);
}

fn start_member(plan: &Plan, machine: &Machine) -> Action {
    let (units, manifests) = match plan.member(&machine.host).map(|member| &member.runs) {
        // Of the kubelet's pods, only etcd's manifest is in place.
        Some(RunsAs::StaticPod(manifest)) => (units::names(&units::KUBELET), vec![manifest.to_string()]),
        Some(RunsAs::Unit(unit)) => (vec![unit.to_string()], Vec::new()),
        None => (Vec::new(), Vec::new()),
    };
    Action::Act(Act::Start { units, manifests })
}

fn settle(machine: &Machine) -> Act {
    // Directories that were collected as a whole stand for what is in them.
    let mut paths: Vec<String> = Vec::new();
    for file in &machine.files {
        let path = &file.file.path;
        if !paths
            .last()
            .is_some_and(|last| path.strip_prefix(last.as_str()).is_some_and(|rest| rest.starts_with('/')))
        {
            paths.push(path.clone());
        }
    }
    Act::Settle { paths }
}

fn start(plan: &Plan, groups: &mut Groups) {
    let masters = plan.machines_with(Role::Master);
    let all: Vec<&Machine> = plan.machines.iter().collect();
    let start = |names: &[&str]| Act::Start { units: units::names(names), manifests: Vec::new() };
    let wait = |names: &[&str], ports: &[String]| {
        Action::Act(Act::Await { units: units::names(names), ports: ports.to_vec(), seconds: START_SECONDS })
    };
    let (with_pods, with_services): (Vec<&Machine>, Vec<&Machine>) =
        masters.iter().partition(|machine| machine.pods.is_some());
    groups.add(7, &with_pods, |_| Action::Act(start(&units::KUBELET)));
    // Where the masters' files stay as they are, their own manifests are moved back.
    let start_pods = |machine: &Machine, kind| match plan.scope {
        Scope::Etcd => {
            Action::Act(Act::Start { units: Vec::new(), manifests: pods(machine, kind).manifests })
        }
        _ => Action::PutPods(kind),
    };
    groups.add(7, &with_pods, |machine| start_pods(machine, PodKind::Api));
    groups.add(7, &with_services, |_| Action::Act(start(&units::API)));
    groups.add(7, &with_pods, |machine| wait(&[], &pods(machine, PodKind::Api).ports));
    groups.add(7, &with_services, |_| wait(&units::API, &[]));
    groups.add(7, &with_services, |_| Action::Act(start(&units::KUBELET)));
    groups.add(7, &with_pods, |machine| start_pods(machine, PodKind::Controllers));
    groups.add(7, &with_services, |_| Action::Act(start(&units::CONTROLLERS)));
    let listening: Vec<&Machine> = with_pods
        .into_iter()
        .filter(|machine| !pods(machine, PodKind::Controllers).ports.is_empty())
        .collect();
    groups.add(7, &listening, |machine| wait(&[], &pods(machine, PodKind::Controllers).ports));
    groups.add(7, &with_services, |_| wait(&units::CONTROLLERS, &[]));
    // Last, so that a node that does not start keeps no master waiting.
    let nodes: Vec<&Machine> =
        plan.machines_with(Role::Node).into_iter().filter(|machine| !machine.has(Role::Master)).collect();
    groups.add(7, &nodes, |_| Action::Act(start(&units::KUBELET)));
    let managed = plan.managed();
    if plan.scope.has_new_machines() {
        introduce(plan, groups);
    }
    groups.add(7, &managed, |_| Action::Act(start(&units::NIGHTSHIFT)));
    groups.add(7, &managed, |_| Action::Act(Act::Night { stages: plan.scope.night(), night: None }));
    groups.add(7, &[&all[..], &plan.managed_others()].concat(), |_| Action::Act(Act::Finish));
}

/// New machines have new keys, which all hosts pin, and new masters have new keys of nightshift.
fn introduce(plan: &Plan, groups: &mut Groups) {
    let with_daemon = [plan.managed(), plan.managed_others()].concat();
    let is_master = |machine: &&Machine| machine.has(Role::Master);
    let masters: Vec<&Machine> = with_daemon.iter().copied().filter(is_master).collect();
    let remotes: Vec<String> = plan.remotes.iter().map(|remote| remote.name.to_string()).collect();
    groups.add(7, &with_daemon, |_| Action::Act(Act::HostKeys));
    groups.add(7, &with_daemon, |_| Action::Pin);
    groups.add(7, &masters, |_| Action::Act(Act::Identities { remotes: remotes.clone() }));
    groups.add(7, &with_daemon, |_| Action::Authorize);
    if !remotes.is_empty() {
        groups.add(7, &plan.machines_with(Role::Master), |_| Action::AuthorizeAtRemotes);
    }
}
