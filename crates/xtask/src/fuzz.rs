//! `cargo xtask fuzz`: the programs of `tests/fuzz/libfuzzer`, built with coverage by cargo-fuzz and run by libFuzzer.

use std::env::consts::ARCH;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::{setup, workspace};

const PROGRAMS: &str = "tests/fuzz/libfuzzer";
const CORPUS: &str = "tests/fuzz/corpus";

/// Seconds for one input, and MiB for the process: no target needs a tenth of either.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

/// Builds every target, and runs each of them so long. Says whether all inputs were good.
pub fn run(seconds: Option<u32>) -> Result<bool> {
    setup::for_fuzzing()?;
    build(&[])?;
    let Some(seconds) = seconds else { return Ok(true) };
    let mut all_good = true;
    for target in targets()? {
        let outcome = Run::prepare(&target)?.run(seconds)?;
        println!("{target:<16} {outcome}");
        all_good &= matches!(outcome, Outcome::Good { .. });
    }
    Ok(all_good)
}

/// Builds the targets that read snapshots, without optimisation: to see that they still build.
pub fn build_snapshot() -> Result<()> {
    for target in targets()?.iter().filter(|target| target.starts_with("snapshot")) {
        build(&["--dev", "--no-default-features", target])?;
    }
    Ok(())
}

/// No sanitizer: the code is safe Rust, where a fault is a panic, and a sanitizer needs a nightly compiler.
fn build(options: &[&str]) -> Result<()> {
    // So that a target is built with the versions of the product.
    let [from, to] =
        [workspace::root().join("Cargo.lock"), workspace::root().join(PROGRAMS).join("Cargo.lock")];
    fs::copy(&from, &to).map_err(Error::io("copy Cargo.lock to", &to))?;
    let mut build = command(&["cargo", "fuzz", "build", "--fuzz-dir", PROGRAMS, "--sanitizer", "none"]);
    build.args(["--target", &triple(), "--target-dir"]).arg(directory());
    step(build.args(options))
}

/// The names of the programs, sorted.
fn targets() -> Result<Vec<String>> {
    let stems = files(&workspace::root().join(PROGRAMS).join("src/bin"))?.into_iter();
    Ok(stems.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}

/// What a build and a run leave; nothing of it is in the source tree.
fn directory() -> PathBuf {
    workspace::target().join("fuzz")
}

fn triple() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(Error::io("read", directory))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> =
        paths.collect::<std::io::Result<_>>().map_err(Error::io("read", directory))?;
    paths.sort();
    Ok(paths)
}

enum Outcome {
    Good {
        runs: String,
    },
    /// libFuzzer wrote the input, if one input was to blame.
    Bad {
        input: Option<PathBuf>,
        log: PathBuf,
    },
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good { runs } => write!(f, "OK    {runs} runs"),
            Self::Bad { input: Some(input), log } => {
                write!(f, "FAIL  on the input {}; see {}", input.display(), log.display())
            }
            Self::Bad { input: None, log } => write!(f, "FAIL  see {}", log.display()),
        }
    }
}

/// The directories of one target: inputs found earlier, which are kept, the corpus, and inputs that make it fail.
struct Run {
    program: PathBuf,
    found: PathBuf,
    corpus: PathBuf,
    failing: PathBuf,
    log: PathBuf,
}

impl Run {
    fn prepare(target: &str) -> Result<Self> {
        let run = Self {
            program: directory().join(triple()).join("release").join(target),
            found: directory().join("found").join(target),
            corpus: directory().join("corpus").join(target),
            failing: directory().join("failing").join(target),
            log: directory().join(target).with_extension("log"),
        };
        for old in [&run.corpus, &run.failing].into_iter().filter(|old| old.exists()) {
            fs::remove_dir_all(old).map_err(Error::io("remove", old))?;
        }
        for new in [&run.found, &run.corpus, &run.failing] {
            fs::create_dir_all(new).map_err(Error::io("create", new))?;
        }
        for seed in files(&workspace::root().join(CORPUS).join(target))? {
            unpack(&seed, &run.corpus.join(seed.file_name().unwrap_or_default()))?;
        }
        Ok(run)
    }

    fn run(&self, seconds: u32) -> Result<Outcome> {
        let log = File::create(&self.log).map_err(Error::io("create", &self.log))?;
        let mut program = Command::new(&self.program);
        program.args(LIMITS).arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        program
            .arg(format!("-artifact_prefix={}/", self.failing.display()))
            .args([&self.found, &self.corpus]);
        let status = program
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .status();
        let status =
            status.map_err(|source| Error::Start { line: self.program.display().to_string(), source })?;
        if !status.success() {
            return Ok(Outcome::Bad { input: files(&self.failing)?.pop(), log: self.log.clone() });
        }
        let printed = fs::read(&self.log).map_err(Error::io("read", &self.log))?;
        let printed = String::from_utf8_lossy(&printed);
        let runs = printed.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        Ok(Outcome::Good { runs: runs.unwrap_or("?").trim().to_owned() })
    }
}

/// Copies a file of the corpus; one ending in `.gz` is unpacked, as `tests/fuzz/corpus.rs` does.
fn unpack(seed: &Path, to: &Path) -> Result<()> {
    if seed.extension().is_none_or(|extension| extension != "gz") {
        return fs::copy(seed, to).map(drop).map_err(Error::io("copy", seed));
    }
    let unpacked = File::create(to).map_err(Error::io("create", to))?;
    let mut gunzip = command(&["gunzip", "--stdout", "--force"]);
    let status = gunzip.arg(seed).stdout(unpacked).status();
    let line = format!("gunzip {}", seed.display());
    match status.map_err(|source| Error::Start { line: line.clone(), source })? {
        status if status.success() => Ok(()),
        status => Err(Error::Failed { line, status }),
    }
}
