//! The machines and members of a plan, and what runs on them.

use crate::etcd_facts::RunsAs;
use crate::name::HostName;
use crate::restore::etcd::Member;
use crate::restore::join::Join;
use crate::restore::machine::Machine;
use crate::restore::pods::StaticPods;
use crate::restore::scope::Scope;
use crate::restore::{Plan, units};
use crate::role::Role;

/// When a machine's files are put in place: those of an etcd host before etcd starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineKind {
    Etcd,
    Node,
    Master,
}

impl MachineKind {
    pub fn of(machine: &Machine) -> Self {
        if machine.has(Role::Etcd) {
            Self::Etcd
        } else if machine.has(Role::Master) {
            Self::Master
        } else {
            Self::Node
        }
    }
}

impl Plan {
    pub fn machines_of(&self, kind: MachineKind) -> Vec<&Machine> {
        self.machines.iter().filter(|machine| MachineKind::of(machine) == kind).collect()
    }

    pub fn machines_with(&self, role: Role) -> Vec<&Machine> {
        self.machines.iter().filter(|machine| machine.has(role)).collect()
    }

    pub fn machine(&self, host: &HostName) -> Option<&Machine> {
        self.machines.iter().chain(&self.others).find(|machine| machine.host == *host)
    }

    /// A member whose data is replaced.
    pub fn member(&self, host: &HostName) -> Option<&Member> {
        let all = self.etcd.iter().flat_map(|etcd| &etcd.members);
        all.chain(self.joins.iter().map(|join| &join.member)).find(|member| member.host == *host)
    }

    /// All members of the restored cluster.
    pub fn members(&self) -> Vec<&Member> {
        match &self.etcd {
            Some(etcd) => etcd.members.iter().collect(),
            None => self.joins.iter().flat_map(|join| join.others.iter().chain([&join.member])).collect(),
        }
    }

    /// The member that joins a cluster which runs.
    pub fn joins_living(&self) -> Option<&Join> {
        self.joins.first().filter(|_| self.etcd.is_none())
    }

    /// How this member joins others.
    pub fn join_of(&self, host: &HostName) -> Option<&Join> {
        self.joins.iter().find(|join| join.member.host == *host)
    }

    /// The units that must not start before their step: exactly those that a later step starts.
    pub fn held(&self, machine: &Machine) -> Vec<String> {
        let mut units = Vec::new();
        if !machine.agentless {
            units.extend(units::names(&units::NIGHTSHIFT));
        }
        if has_services(machine) {
            units.extend(units::names(&units::CONTROLLERS));
            units.extend(units::names(&units::API));
        }
        let etcd_pod = self.etcd_pod(machine);
        if machine.has(Role::Master) || machine.has(Role::Node) || etcd_pod.is_some() {
            units.extend(units::names(&units::KUBELET));
        }
        if let Some(RunsAs::Unit(unit)) = self.member(&machine.host).map(|member| &member.runs) {
            units.push(unit.to_string());
        }
        units
    }

    /// The units that may run what is replaced: those that are held, and etcd under each of its names.
    pub fn units(&self, machine: &Machine) -> Vec<String> {
        [self.held(machine), units::names(&units::ETCD)].concat()
    }

    /// The manifests of static pods that are stopped before anything is replaced.
    pub fn manifests(&self, machine: &Machine) -> Vec<String> {
        let pods = machine.pods.iter().flat_map(StaticPods::all);
        let pods = pods.flat_map(|pods| pods.manifests.iter().map(String::as_str));
        pods.chain(self.etcd_pod(machine)).map(str::to_owned).collect()
    }

    /// Whether a file follows in a later step: the kubelet starts whatever is in its directory. Where nothing is stopped, no step follows.
    pub fn is_put_later(&self, machine: &Machine, path: &str) -> bool {
        !matches!(self.scope, Scope::Files { .. }) && machine.pods.as_ref().is_some_and(|pods| pods.has(path))
    }

    /// The manifest of etcd's static pod.
    pub fn etcd_pod(&self, machine: &Machine) -> Option<&str> {
        match &self.member(&machine.host)?.runs {
            RunsAs::StaticPod(manifest) => Some(manifest),
            RunsAs::Unit(_) => None,
        }
    }

    /// The machines with a daemon.
    pub fn managed(&self) -> Vec<&Machine> {
        self.machines.iter().filter(|machine| !machine.agentless).collect()
    }

    pub fn managed_others(&self) -> Vec<&Machine> {
        self.others.iter().filter(|machine| !machine.agentless).collect()
    }
}

/// Whether its control plane runs as services.
pub fn has_services(machine: &Machine) -> bool {
    machine.has(Role::Master) && machine.pods.is_none()
}
