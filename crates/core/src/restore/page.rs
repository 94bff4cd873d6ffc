//! The plan on one page, as an operator reads it at night.

use std::fmt::{self, Write as _};

use crate::restore::Plan;
use crate::restore::copy::{CopyKind, EtcdCopy};
use crate::restore::finding::FindingKind;
use crate::restore::scope::Scope;
use crate::restore::steps::{Action, Group, groups};
use crate::role::Role;
use crate::units::{bytes, count};

/// The titles of the runbook's steps.
const TITLES: [&str; 7] = [
    "create the machines: yours",
    "install them (Ansible), and nightshift's package: yours",
    "stop what runs",
    "restore etcd: one snapshot on all members",
    "restore the nodes' files",
    "restore the masters' files",
    "start the control plane, pin the new keys, run an extra night",
];

const GROWN: &str = "restore etcd: one member from the copy; the others join it";
const WITHOUT_SNAPSHOT: &str = "restore the etcd host; a member gets its data from the others";

pub struct Page<'p>(pub &'p Plan);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        writeln!(f, "restore of cluster {}, night {}, plan {}", plan.cluster, plan.id.night, plan.id)?;
        writeln!(f, "from {}, {}", plan.source, plan.signed)?;
        match &plan.scope {
            Scope::Cluster => {}
            Scope::Etcd => {
                writeln!(f, "only etcd: all members; the nodes and the masters' files stay as they are")?;
            }
            Scope::Host(host) => writeln!(f, "only {host}, of a cluster that runs")?,
            Scope::Files { host, path } => writeln!(f, "only {path} on {host}; nothing is stopped")?,
        }
        if let Some(etcd) = &plan.etcd {
            let EtcdCopy { set, kind, revision, version, size, .. } = &etcd.copy;
            let members = count(etcd.members.len(), "member");
            let what = match kind {
                CopyKind::Snapshot => set.to_string(),
                CopyKind::ColdCopy => format!("the cold copy of {set}"),
                CopyKind::V2Backup => format!("the v2 backup of {set}"),
                CopyKind::Survivor => format!("the data of {}, which survived", set.host),
            };
            let revision = if *revision > 0 { format!("revision {revision}, ") } else { String::new() };
            writeln!(f, "etcd: {what}, {revision}etcd {version}, {}, {members}", bytes(*size))?;
        }
        for role in [Role::Master, Role::Etcd, Role::Node] {
            let hosts: Vec<&str> = plan
                .machines
                .iter()
                .filter(|machine| machine.has(role))
                .map(|machine| machine.host.as_str())
                .collect();
            if !hosts.is_empty() {
                writeln!(f, "{:<7} {}", format!("{role}:"), crate::text::first_of(&hosts, ", "))?;
            }
        }
        for kind in FindingKind::ALL {
            for finding in plan.findings.iter().filter(|finding| finding.kind == kind) {
                writeln!(f, "{:<8} {}", format!("{kind}:"), finding.text)?;
            }
        }
        f.write_char('\n')?;
        let groups = groups(plan);
        for (number, title) in (1..).zip(TITLES) {
            let of_step = || groups.iter().filter(|group| group.step == number);
            if plan.scope != Scope::Cluster && of_step().next().is_none() {
                continue;
            }
            let title = match &plan.etcd {
                None if number == 4 => WITHOUT_SNAPSHOT,
                Some(etcd) if number == 4 && etcd.copy.v2 => GROWN,
                _ => title,
            };
            writeln!(f, "{number}  {title}")?;
            of_step().try_for_each(|group| line(f, plan, group))?;
        }
        Ok(())
    }
}

/// One line for each group: all machines do the same at the same time.
fn line(f: &mut fmt::Formatter<'_>, plan: &Plan, group: &Group) -> fmt::Result {
    let [first, .., last] = &group.steps[..] else {
        let Some(only) = group.steps.first() else { return Ok(()) };
        return writeln!(f, "   {:<9} {}: {}", only.number, only.host.short(), detail(plan, only));
    };
    let hosts: Vec<&str> = group.steps.iter().map(|step| step.host.short()).collect();
    let numbers =
        format!("{}-{}", first.number, last.number.split_once('.').map_or("", |(_, number)| number));
    writeln!(f, "   {numbers:<9} {}: {}", crate::text::first_of(&hosts, ", "), detail(plan, first))
}

fn detail(plan: &Plan, step: &crate::restore::steps::Step) -> String {
    let machine = plan.machine(&step.host);
    match (&step.action, machine) {
        (Action::PutFiles, Some(machine)) => {
            let files = count(machine.files.len(), "file");
            format!("{} ({files}, {})", step.action.title(), bytes(machine.bytes()))
        }
        _ => step.action.title(),
    }
}
