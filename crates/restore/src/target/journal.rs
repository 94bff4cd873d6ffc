//! The journal of a plan on a machine: a line before an act, one for each thing that it places, and one after it.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::digest::Digest;
use nightshift_core::night::Night;
use nightshift_core::text::Text;
use nightshift_store::{AppendLog, StoreError};
use serde::{Deserialize, Serialize};

/// The maximum size in bytes: a line for each of 100,000 files, a few times.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    pub time: Timestamp,
    pub step: String,
    /// The name of the act.
    pub act: String,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The act begins. Units and manifests are those of `Stop` and `Start`.
    Begun {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        units: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        manifests: Vec<String>,
    },
    /// A unit that runs is stopped next.
    Stopping {
        unit: String,
    },
    /// Something is put at this path next. What was there before is at `before`.
    Placed {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// Of the tar of a member's data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Digest>,
    },
    /// The data of a member is unpacked next, to be put at this path: what was placed there before is replaced.
    Unpacking {
        path: String,
    },
    /// The owner and mode of a directory are changed next. It had these.
    Adjusted {
        path: String,
        uid: u32,
        gid: u32,
        #[serde(with = "nightshift_core::octal")]
        mode: u32,
    },
    /// A file that is not in the backup is moved there.
    MovedAside {
        path: String,
        to: String,
    },
    /// The extra night has ended, and the daemon has reported this.
    Night {
        /// The one that all hosts run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        night: Option<Night>,
        report: Text,
    },
    /// The change of this line of the journal is undone.
    Undone {
        line: usize,
    },
    Done {
        changed: bool,
    },
    Failed {
        reason: Text,
    },
}

#[derive(Debug)]
pub struct Journal {
    log: AppendLog<JournalLine>,
    lines: Vec<JournalLine>,
}

impl Journal {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (log, lines) = AppendLog::open(path, MAX_BYTES)?;
        Ok(Self { log, lines })
    }

    pub fn append(&mut self, line: JournalLine) -> Result<(), StoreError> {
        #[cfg(test)]
        super::crash::point(Path::new("journal"))?;
        self.log.append(&line)?;
        self.lines.push(line);
        Ok(())
    }

    /// What acts of this plan have begun to start, units and manifests. From then on it is neither held nor stopped again.
    pub fn started(&self) -> BTreeSet<&str> {
        self.starts()
            .flat_map(|(units, manifests)| units.iter().chain(manifests))
            .map(String::as_str)
            .collect()
    }

    fn starts(&self) -> impl Iterator<Item = (&Vec<String>, &Vec<String>)> {
        self.lines.iter().filter_map(|line| match &line.event {
            Event::Begun { units, manifests } if line.act == "start" => Some((units, manifests)),
            _ => None,
        })
    }

    /// The units that ran when the plan began: those that it has stopped, and those that ran when it was undone without having been started
    /// by it.
    pub fn stopped(&self) -> BTreeSet<String> {
        let started = self.started();
        let stopping = self.lines.iter().filter_map(|line| match &line.event {
            Event::Stopping { unit } if line.act == "stop" || !started.contains(unit.as_str()) => {
                Some(unit.clone())
            }
            _ => None,
        });
        stopping.collect()
    }

    /// Whether something was moved there.
    pub fn has_moved(&self, to: &str) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(&line.event, Event::MovedAside { to: moved, .. } if moved == to))
    }

    /// What was changed and is not undone, from the last change to the first, each with its line.
    pub fn to_undo(&self) -> Vec<(usize, JournalLine)> {
        let undone: BTreeSet<usize> = self
            .lines
            .iter()
            .filter_map(|line| match line.event {
                Event::Undone { line } => Some(line),
                _ => None,
            })
            .collect();
        let is_change = |line: &JournalLine| {
            matches!(line.event, Event::Placed { .. } | Event::MovedAside { .. } | Event::Adjusted { .. })
        };
        let lines = self.lines.iter().enumerate().rev();
        let changes = lines.filter(|(number, line)| is_change(line) && !undone.contains(number));
        changes.map(|(number, line)| (number, line.clone())).collect()
    }

    /// Whether everything was moved back.
    pub fn is_undone(&self) -> bool {
        self.lines.iter().any(|line| line.act == "undo" && matches!(line.event, Event::Done { .. }))
    }

    /// Whether this step has ended well.
    pub fn is_done(&self, step: &str, act: &str) -> bool {
        self.done_at(step, act).is_some()
    }

    fn done_at(&self, step: &str, act: &str) -> Option<usize> {
        let is_done = |line: &JournalLine| {
            line.step == step && line.act == act && matches!(line.event, Event::Done { .. })
        };
        self.lines.iter().rposition(is_done)
    }

    /// Whether something was started after this step had ended well: what runs may have changed what the step did.
    pub fn started_after(&self, step: &str, act: &str) -> bool {
        let is_start = |line: &JournalLine| line.act == "start" && matches!(line.event, Event::Begun { .. });
        self.done_at(step, act).is_some_and(|done| self.lines[done..].iter().any(is_start))
    }

    /// Whether this step has ended well, and no file was placed since in the same step of the runbook.
    pub fn is_settled(&self, step: &str, act: &str) -> bool {
        let number = |step: &str| step.split('.').next().map(str::to_owned);
        let is_placed = |line: &JournalLine| {
            number(&line.step) == number(step)
                && line.act == "put-files"
                && matches!(line.event, Event::Placed { .. })
        };
        self.done_at(step, act).is_some_and(|done| !self.lines[done..].iter().any(is_placed))
    }

    /// The paths at which this plan has put something.
    pub fn placed(&self) -> BTreeSet<&str> {
        let placed = self.lines.iter().filter_map(|line| match &line.event {
            Event::Placed { path, .. } => Some(path.as_str()),
            _ => None,
        });
        placed.collect()
    }

    /// What the daemon has reported on this extra night.
    pub fn night(&self, wanted: Option<Night>) -> Option<&Text> {
        self.lines.iter().rev().find_map(|line| match &line.event {
            Event::Night { night, report } if *night == wanted => Some(report),
            _ => None,
        })
    }

    /// The tar of the data that was put at this path last. None while other data is unpacked for it.
    pub fn placed_data(&self, at: &str) -> Option<Digest> {
        let last = self.lines.iter().rev().find_map(|line| match &line.event {
            Event::Placed { path, sha256, .. } if path == at => Some(*sha256),
            Event::Unpacking { path } if path == at => Some(None),
            _ => None,
        });
        last.flatten()
    }
}
