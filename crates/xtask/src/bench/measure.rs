//! Times command lines in turns, and keeps what each run took.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::{Error, Result};

/// How often each contestant runs; the medians are compared.
pub const ROUNDS: usize = 3;

/// What the runs of one contestant gave.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self::new(self.0.iter().copied().map(change).collect())
    }
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self(vec![value])
    }
}

/// The median, with the extremes where there are any. `{:.1}` gives one digit after the point.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$}", self.median())?;
        match &self.0[..] {
            [least, .., most] => write!(f, " ({least:.digits$}–{most:.digits$})"),
            _ => Ok(()),
        }
    }
}

/// Something to be measured again and again; returns its figure.
pub type Contestant<'a> = &'a mut dyn FnMut() -> Result<f64>;

/// Lets each have its turn, round by round, so that all meet the same machine.
pub fn in_turns<const N: usize>(mut contestants: [Contestant<'_>; N]) -> Result<[Sample; N]> {
    let mut values = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (contestant, values) in contestants.iter_mut().zip(&mut values) {
            values.push(contestant()?);
        }
    }
    Ok(values.map(Sample::new))
}

/// Runs it to its good end and returns its output and the seconds that it took.
pub fn timed(command: &mut Command) -> Result<(String, f64)> {
    let line = [command.get_program()].into_iter().chain(command.get_args());
    let line = line.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let begun = Instant::now();
    let ran = command.stdin(Stdio::null()).output();
    let seconds = begun.elapsed().as_secs_f64();
    let output = ran.map_err(|source| Error::Start { line: line.clone(), source })?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(Error::Failed { line, status: output.status });
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), seconds))
}
