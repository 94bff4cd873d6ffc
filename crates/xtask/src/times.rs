//! How long each part of a run took.

use std::fs;
use std::time::{Duration, Instant};

pub struct Times {
    parts: Vec<(&'static str, Duration)>,
}

impl Times {
    /// Starts with the part that ran before: the build of this program.
    pub fn start() -> Self {
        Self { parts: age_of_this_process().map(|age| ("cargo xtask itself", age)).into_iter().collect() }
    }

    /// Runs a part and notes its time, however it ends.
    pub fn part<T>(&mut self, name: &'static str, run: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = run();
        self.parts.push((name, started.elapsed()));
        result
    }

    pub fn table(&self) -> String {
        let total = ("total", self.parts.iter().map(|(_, time)| *time).sum());
        let rows = self.parts.iter().chain([&total]);
        rows.map(|(name, time)| format!("{:>7}  {name}\n", minutes(*time))).collect()
    }
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round();
    format!("{:.0}:{:02.0}", (seconds / 60.0).floor(), seconds % 60.0)
}

/// `cargo run` builds a program and then becomes it: the process started when cargo did.
fn age_of_this_process() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may contain anything, comes the state as field 3; field 22 is the start, in ticks since the boot.
    let start = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse::<f64>().ok()? / TICKS_PER_SECOND;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let now = uptime.split(' ').next()?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(now - start).ok()
}

/// The kernel's USER_HZ, which is 100 on x86_64 and aarch64.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_noted_with_its_time_and_the_total_comes_last() {
        let mut times = Times { parts: vec![("lints", Duration::from_millis(59_600))] };
        assert_eq!(times.part("tests", || 7), 7);
        times.parts.push(("docs", Duration::from_secs(3_601)));
        assert_eq!(times.table(), "   1:00  lints\n   0:00  tests\n  60:01  docs\n  61:01  total\n");
    }

    #[test]
    fn the_age_of_this_process_is_that_of_a_test_run() {
        let age = age_of_this_process().unwrap();
        assert!(age < Duration::from_secs(3_600), "{age:?}");
    }
}
