//! One drill, run as the daemon runs it: the job is a line of JSON to the worker, which reports the result.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::workspace;

/// Faster than any disk.
const UNHINDERED: u64 = 1 << 50;
const DEADLINE_MS: u32 = 3_600_000;

/// Drills a snapshot that gzip has packed, and returns the seconds that it took; one that is not proved is an error.
pub fn drill(stored: &Path, work: &Path, rate: Option<u64>) -> Result<f64> {
    let program = workspace::release().join("nightshift");
    let job = format!(
        "{{\"copy\":\"the benchmark's\",\"stored\":{{\"kind\":\"snapshot\",\"file\":{stored:?},\"packing\":\"gzip\"}},\
         \"scratch\":{:?},\"leave\":0,\"rate\":{},\"deadline_ms\":{DEADLINE_MS}}}",
        work.join("scratch"),
        rate.unwrap_or(UNHINDERED)
    );
    let begun = Instant::now();
    let mut worker = Command::new(&program);
    let worker = worker.arg("drill-worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut worker = worker.map_err(|source| Error::Start { line: program.display().to_string(), source })?;
    let (Some(mut input), Some(output)) = (worker.stdin.take(), worker.stdout.take()) else {
        return Err(Error::Missing("the drill's worker has no input or output".to_owned()));
    };
    writeln!(input, "{job}").map_err(Error::io("write to", &program))?;
    // Its input stays open until then: the worker stops when it ends.
    let last = BufReader::new(output).lines().map_while(std::result::Result::ok).last();
    drop(input);
    worker.wait().map_err(Error::io("wait for", &program))?;
    let seconds = begun.elapsed().as_secs_f64();
    match last {
        Some(report) if report.contains("\"verdict\":\"proved\"") => Ok(seconds),
        report => Err(Error::Missing(format!("the drill did not prove it: {report:?}"))),
    }
}
