//! What was interrupted, and how it went on.

use std::time::Duration;

use nightshift_core::restore::steps::Step;

#[derive(Default)]
pub struct Table {
    failed: Vec<String>,
    cells: usize,
}

/// One interruption.
pub struct Cell {
    pub step: String,
    pub act: String,
    pub host: String,
    pub what: String,
}

impl Cell {
    pub fn of(step: &Step, what: impl Into<String>) -> Self {
        Self {
            step: step.number.clone(),
            act: step.action.title(),
            host: step.host.to_string(),
            what: what.into(),
        }
    }
}

impl Table {
    /// Prints it.
    pub fn add(&mut self, cell: &Cell, result: Result<(), String>, took: Duration) {
        if self.cells == 0 {
            println!(
                "{:<6} {:<16} {:<56} {:<40} {:>8}  RESULT",
                "STEP", "HOST", "ACT", "INTERRUPTED BY", "SECONDS"
            );
        }
        self.cells += 1;
        let Cell { step, act, host, what } = cell;
        let line = format!("{step:<6} {host:<16} {act:<56} {what:<40} {:>8.1}", took.as_secs_f64());
        match result {
            Ok(()) => println!("{line}  OK"),
            Err(reason) => {
                println!("{line}  FAIL: {reason}");
                self.failed.push(format!("{line}  {reason}"));
            }
        }
    }

    /// # Panics
    /// If a cell has failed.
    pub fn finish(self) {
        println!("{} of {} cells are OK", self.cells - self.failed.len(), self.cells);
        assert!(self.failed.is_empty(), "failed:\n{}", self.failed.join("\n"));
    }
}
