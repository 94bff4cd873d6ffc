//! The machine, and whether it has nothing else to do.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::run::output;

/// How long a look at the processors takes.
const LOOK: Duration = Duration::from_secs(2);
/// The share of them that others may have.
const QUIET: f64 = 0.1;
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until the machine is idle, for a while, and returns the share of its processors that is still taken.
pub fn wait_until_quiet() -> Result<f64> {
    let until = Instant::now() + PATIENCE;
    loop {
        let before = processors()?;
        thread::sleep(LOOK);
        let after = processors()?;
        let busy = (after.busy - before.busy) / (after.all - before.all).max(1.0);
        if busy <= QUIET || Instant::now() > until {
            return Ok(busy);
        }
    }
}

/// One line on where and when.
pub fn describe(busy: f64) -> Result<String> {
    let unknown = || "unknown".to_owned();
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = field(&cpuinfo, "model name").unwrap_or("an unnamed processor").to_owned();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo")?;
    let kib =
        field(&memory, "MemTotal").and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
    let memory = kib.unwrap_or_default() / f64::from(1 << 20);
    let kernel = read("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let date = output(&["date", "-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown);
    let state = if busy <= QUIET {
        String::new()
    } else {
        format!(
            " **The machine was busy**: other programs had {:.0} % of it just before, so these figures \
             are worse than they need be.",
            busy * 100.0
        )
    };
    Ok(format!("{date}; {model}, {cores} cores, {memory:.0} GiB, Linux {kernel}.{state}"))
}

/// Time that the processors have spent, in ticks.
struct Processors {
    busy: f64,
    all: f64,
}

fn processors() -> Result<Processors> {
    let text = read("/proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = first.split_whitespace().skip(1).filter_map(|value| value.parse().ok()).collect();
    let all: f64 = ticks.iter().take(8).sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Ok(Processors { busy: all - idle, all })
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io("read", path))
}

/// `name : value`, as /proc writes it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}
