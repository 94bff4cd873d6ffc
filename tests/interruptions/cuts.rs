//! Machines lose their power in each step, with everything that had not reached their disk. They come back by themselves, and what is held
//! does not start.

use std::time::{Duration, Instant};

use kit::lab::Host;
use nightshift_core::restore::act::Act;
use nightshift_core::restore::steps::{Action, Step};

use crate::apply::{Apply, Restore};
use crate::table::{Cell, Table};

/// What must not start before its step.
const UNITS: [&str; 5] = [
    "etcd.service",
    "atomic-openshift-master-api.service",
    "atomic-openshift-master-controllers.service",
    "atomic-openshift-node.service",
    "nightshift.service",
];

/// A step by its number on the page, host and the beginning of its title; when in it the power is cut.
struct Cut(u8, &'static str, &'static str, When);

#[derive(Clone, Copy)]
enum When {
    /// The step is reported as done, so all of it must be on disk.
    After,
    /// The machine's journal has an event of the step.
    Event(&'static str),
}

use When::{After, Event};

/// By run of the command. In one run, a machine that fails stops it, and a node does not.
const RUNS: [&[Cut]; 12] = [
    &[Cut(3, "etcd1", "hold", After)],
    &[Cut(3, "master1", "stop API", After)],
    &[Cut(3, "etcd2", "stop etcd", Event("stopping"))],
    &[Cut(4, "etcd1", "put the files", Event("placed"))],
    &[Cut(4, "etcd3", "put etcd's data", Event("unpacking")), Cut(4, "etcd2", "put etcd's data", After)],
    &[Cut(4, "etcd1", "start etcd", After)],
    &[Cut(5, "node1", "put the files", Event("placed")), Cut(6, "master1", "put the files", Event("placed"))],
    &[Cut(6, "master2", "labels", After)],
    &[Cut(7, "master1", "start API", After)],
    // A night without this node would not be complete, so the run ends before.
    &[Cut(7, "node2", "start kubelet", After), Cut(7, "etcd1", "read the host keys", After)],
    &[Cut(7, "master3", "create nightshift's keys", After)],
    &[Cut(7, "node1", "run an extra night", Event("begun"))],
];

/// A cut whose machine is back, and what the next run has to show.
struct Pending<'s> {
    step: &'s Step,
    when: When,
    cell: Cell,
    is_held: Result<(), String>,
}

pub fn in_each_step(restore: &Restore<'_>, table: &mut Table) {
    // The machines were installed long ago.
    for host in restore.lab.hosts() {
        host.run_for("sync", Duration::from_secs(60)).unwrap();
    }
    let mut pending = Vec::new();
    for cuts in RUNS {
        let began = Instant::now();
        let mut apply = restore.start();
        let mut cut = Vec::new();
        for Cut(number, host, title, when) in cuts {
            let step = find(restore, *number, host, title);
            let reached = match when {
                After => apply.wait_done(step),
                Event(event) => apply.wait_event(step, event),
            };
            let result =
                reached.and_then(|()| restore.host(step).power_cut().map_err(|error| error.to_string()));
            let what = match when {
                After => "power cut after it".to_owned(),
                Event(event) => format!("power cut at its event `{event}`"),
            };
            cut.push((step, *when, Cell::of(step, what), result));
        }
        let code = apply.wait();
        judge(std::mem::take(&mut pending), &apply, began, table);
        for (step, when, cell, result) in cut {
            let result = result.and_then(|()| match &code {
                Ok(0) => Err("apply ended with 0, although a machine was off".to_owned()),
                Ok(_) => Ok(()),
                Err(reason) => Err(reason.clone()),
            });
            let is_held = result.and_then(|()| comes_back(restore, step));
            pending.push(Pending { step, when, cell, is_held });
        }
    }
    let began = Instant::now();
    let mut apply = restore.start();
    let complete = apply.wait_complete();
    if let Err(reason) = complete {
        let last = Cell {
            step: "end".to_owned(),
            act: "apply".to_owned(),
            host: "all".to_owned(),
            what: String::new(),
        };
        table.add(&last, Err(reason), began.elapsed());
    }
    judge(pending, &apply, began, table);
}

fn find<'r>(restore: &'r Restore<'_>, number: u8, host: &str, title: &str) -> &'r Step {
    let name = &restore.lab.host(host).name;
    let is_it = |step: &&Step| {
        step.number.starts_with(&format!("{number}."))
            && step.host.as_str() == name
            && step.action.title().starts_with(title)
    };
    restore.steps.iter().find(is_it).unwrap_or_else(|| panic!("no step {number} of {host}: {title}"))
}

/// This run of the same command has done the step; what was reported as done before the cut was still there.
fn judge(pending: Vec<Pending<'_>>, apply: &Apply<'_>, began: Instant, table: &mut Table) {
    for Pending { step, when, cell, is_held } in pending {
        let result = is_held.and_then(|()| match (apply.done(step), when) {
            (None, _) => Err("the same command did not get past this step".to_owned()),
            (Some(true), After) if !matches!(step.action, Action::Act(Act::Start { .. })) => {
                Err("it was reported as done, and had to be done again".to_owned())
            }
            _ => Ok(()),
        });
        table.add(&cell, result, began.elapsed());
    }
}

/// Boots a machine after a power cut. What no step has started is not running and cannot be started.
fn comes_back(restore: &Restore<'_>, step: &Step) -> Result<(), String> {
    let host = restore.host(step);
    host.start().map_err(|error| format!("it does not come back: {error}"))?;
    let of_host =
        restore.steps.iter().filter(|step| step.host.as_str() == host.name && restore.has_begun(step));
    let started: Vec<&str> = of_host
        .filter_map(|step| match &step.action {
            Action::Act(Act::Start { units, .. }) => Some(units.iter().map(String::as_str)),
            _ => None,
        })
        .flatten()
        .collect();
    let exists =
        |unit: &&str| host.try_run(&format!("systemctl cat {unit}")).is_ok_and(|found| found.status == 0);
    let held: Vec<&str> = UNITS.into_iter().filter(|unit| !started.contains(unit)).filter(exists).collect();
    for unit in &held {
        stays_stopped(host, unit)?;
    }
    if held.contains(&"etcd.service") && host.try_run("pgrep -x etcd").is_ok_and(|found| found.status == 0) {
        return Err("an etcd runs before its step".to_owned());
    }
    println!("       {} is back; does not start: {}", host.name, held.join(", "));
    Ok(())
}

fn stays_stopped(host: &Host, unit: &str) -> Result<(), String> {
    let run = |line: &str| host.try_run(line).map_err(|error| error.to_string());
    let state = run(&format!("systemctl is-active {unit}"))?.text();
    if !["inactive", "failed"].contains(&state.as_str()) {
        return Err(format!("{unit} is {state} before its step"));
    }
    match run(&format!("systemctl start {unit}"))?.status {
        0 => Err(format!("{unit} can be started before its step")),
        _ => Ok(()),
    }
}
