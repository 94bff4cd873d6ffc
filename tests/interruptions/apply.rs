//! `nightshift restore apply` on the operator's machine, and what the log of the plan and the machines' journals say of it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use kit::lab::cmd::Running;
use kit::lab::{Host, Lab};
use nightshift_core::restore::Plan;
use nightshift_core::restore::steps::{Step, groups};
use serde_json::Value;

use crate::lost::{
    APPLY, Lost, OPERATOR, check, every_key_is_back, files_are_back, nights_are_complete, plan,
};
use crate::table::{Cell, Table};

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A plan whose machines are ready.
pub struct Restore<'l> {
    pub lab: &'l Lab,
    lost: &'l Lost,
    directory: String,
    pub plan: Plan,
    pub steps: Vec<Step>,
}

impl<'l> Restore<'l> {
    pub fn new(lab: &'l Lab, lost: &'l Lost) -> Self {
        let operator = lab.host(OPERATOR);
        let directory = plan(operator, lost, "");
        check(operator, &directory);
        let text = operator.read_file(&format!("/root/{directory}/plan.json")).unwrap();
        let plan: Plan = serde_json::from_slice(&text).unwrap();
        let steps = groups(&plan).into_iter().flat_map(|group| group.steps).collect();
        Self { lab, lost, directory, plan, steps }
    }

    pub fn host(&self, step: &Step) -> &Host {
        self.lab.host(step.host.as_str())
    }

    pub fn start(&self) -> Apply<'_> {
        // A line that a killed run has not finished is removed by the next one.
        let text = fs::read(self.log()).unwrap_or_default();
        let since = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let line = format!("cd /root && exec nightshift restore apply {} > out 2>&1", self.directory);
        let running = self.lab.host(OPERATOR).spawn(&line, Stdio::null()).unwrap();
        Apply { restore: self, running, since }
    }

    fn log(&self) -> PathBuf {
        self.lab.host(OPERATOR).root().join("root").join(&self.directory).join("log")
    }

    /// Whether any run has begun this step.
    pub fn has_begun(&self, step: &Step) -> bool {
        lines(&fs::read(self.log()).unwrap_or_default()).iter().any(|line| is_of(line, step))
    }

    /// Every key and value, every file, a write through each member, the nights.
    pub fn require_the_end(&self, table: &mut Table) {
        let began = Instant::now();
        let operator = self.lab.host(OPERATOR);
        let checks: [(&str, &dyn Fn()); 3] = [
            ("every key and value, a write through each member", &|| {
                every_key_is_back(self.lab, operator, &self.directory, self.lost);
            }),
            ("every file", &|| files_are_back(self.lab, self.lost)),
            ("the nights are complete", &|| nights_are_complete(self.lab)),
        ];
        for (what, check) in checks {
            let result = catch_unwind(AssertUnwindSafe(check)).map_err(|_| "see the output above".to_owned());
            let [step, host] = ["end", "all"].map(str::to_owned);
            table.add(
                &Cell { step, host, act: what.to_owned(), what: String::new() },
                result,
                began.elapsed(),
            );
        }
    }
}

/// A run of the command. Dropped, it is killed with its ssh processes.
pub struct Apply<'r> {
    restore: &'r Restore<'r>,
    running: Running,
    /// Bytes of the log that earlier runs have written.
    since: usize,
}

impl Apply<'_> {
    /// What this run has logged.
    fn lines(&self) -> Vec<Value> {
        lines(fs::read(self.restore.log()).unwrap_or_default().get(self.since..).unwrap_or_default())
    }

    /// Waits until the log has this step as done.
    pub fn wait_done(&mut self, step: &Step) -> Result<(), String> {
        self.wait_until(|apply| apply.done(step).is_some())
    }

    /// That no node was skipped.
    pub fn require_all_nodes(&self) -> Result<(), String> {
        match self.lines().iter().find(|line| line.pointer("/end/later").is_some()) {
            Some(line) => Err(line.to_string()),
            None => Ok(()),
        }
    }

    /// How this run has ended a step: whether it has changed something.
    pub fn done(&self, step: &Step) -> Option<bool> {
        let lines = self.lines();
        lines
            .iter()
            .filter(|line| is_of(line, step))
            .find_map(|line| line.pointer("/end/done/changed")?.as_bool())
    }

    /// Waits until the machine's own journal has an event of this step.
    pub fn wait_event(&mut self, step: &Step, event: &str) -> Result<(), String> {
        let host = self.restore.host(step);
        let journal = host.root().join("var/lib/nightshift-restore").join(self.restore.plan.id.to_string());
        let has_event = |line: &Value| line["step"] == step.number.as_str() && line["event"] == event;
        self.wait_until(|_| {
            lines(&fs::read(journal.join("journal")).unwrap_or_default()).iter().any(has_event)
        })
    }

    fn wait_until(&mut self, is_so: impl Fn(&Self) -> bool) -> Result<(), String> {
        let until = Instant::now() + APPLY;
        loop {
            // In this order: the last step ends the command.
            let has_ended = self.has_ended();
            if is_so(self) {
                return Ok(());
            }
            if has_ended || Instant::now() > until {
                return Err(format!(
                    "apply {}: {}",
                    if has_ended { "ended" } else { "takes too long" },
                    self.output()
                ));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn has_ended(&mut self) -> bool {
        self.running.child.try_wait().unwrap().is_some()
    }

    /// SIGKILL to the whole process group.
    pub fn kill(self) {}

    /// The exit code.
    pub fn wait(&mut self) -> Result<i32, String> {
        let until = Instant::now() + APPLY;
        while Instant::now() < until {
            if let Some(status) = self.running.child.try_wait().unwrap() {
                return Ok(status.code().unwrap_or(-1));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Err("apply takes too long".to_owned())
    }

    pub fn wait_complete(&mut self) -> Result<(), String> {
        match self.wait()? {
            0 => Ok(()),
            code => Err(format!("apply ended with {code}: {}", self.output())),
        }
    }

    /// The last lines that it has printed.
    fn output(&self) -> String {
        let printed = fs::read_to_string(self.restore.lab.host(OPERATOR).root().join("root/out"));
        let printed = printed.unwrap_or_default();
        let mut last: Vec<&str> = printed.lines().rev().take(3).collect();
        last.reverse();
        last.join(" | ")
    }
}

/// The complete lines.
fn lines(text: &[u8]) -> Vec<Value> {
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn is_of(line: &Value, step: &Step) -> bool {
    line["step"] == step.number.as_str() && line["host"] == step.host.as_str()
}
