//! Everything that must be good before a change goes in. The last line is the test runner's own closing line.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::{Command, ExitCode, Stdio};

use crate::error::{Error, Result};
use crate::run::{command, show, step, succeeds};
use crate::times::Times;
use crate::{fuzz, go_programs, no_sync, package, setup, workspace};

pub fn run() -> Result<ExitCode> {
    let mut times = Times::start();
    let outcome = parts(&mut times);
    eprintln!("\n{}", times.table());
    let tests = outcome?;
    eprintln!("{}", tests.closing_line);
    Ok(if tests.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tests of the tests' own machinery: the lab's power cuts, its networks, its etcd.
pub fn kit() -> Result<()> {
    setup::for_tests()?;
    let line = ["cargo", "nextest", "run", "--locked", "--package", "nightshift-tests", "--test", "selftest"];
    // The default filter leaves them out.
    step(command(&line).arg("--ignore-default-filter"))
}

/// The tests with a real API server.
pub fn kubernetes() -> Result<()> {
    setup::for_tests()?;
    go_programs::kubernetes()?;
    step(&mut command(&["cargo", "build", "--locked", "--workspace"]))?;
    let line = ["cargo", "nextest", "run", "--locked", "--workspace", "--test", "kubernetes"];
    step(command(&line).args(["--ignore-default-filter", "--success-output", "final"]))
}

/// Restores of a lost cluster that are killed after each act, or lose a machine's power. What they print is shown at once.
pub fn interrupted_restores() -> Result<()> {
    setup::for_tests()?;
    step(&mut command(&["cargo", "build", "--locked", "--workspace"]))?;
    let line = ["cargo", "nextest", "run", "--locked", "--workspace", "--test", "interruptions"];
    step(command(&line).args(["--ignore-default-filter", "--no-capture"]))
}

/// What operators use, for real: the suite runs on the packages' program, which also runs nights on releases of Debian, and Ansible
/// installs it on fresh hosts. With words, only the tests whose names contain one of them.
pub fn operators(words: &[&str]) -> Result<()> {
    setup::for_tests()?;
    setup::for_operators()?;
    step(&mut command(&["cargo", "build", "--locked", "--workspace"]))?;
    let program = package::program()?;
    let mut runner = command(&["cargo", "nextest", "run", "--locked", "--package", "nightshift-tests"]);
    for test in ["operators", "integration", "lab"] {
        runner.args(["--test", test]);
    }
    step(runner.arg("--ignore-default-filter").args(words).env("NIGHTSHIFT_BINARY", program))
}

/// The tests that depend on etcd, on every release of it that nightshift supports; prints a table.
pub fn etcd() -> Result<ExitCode> {
    setup::for_tests()?;
    go_programs::etcd("3.7")?;
    build()?;
    let (mut rows, mut all_passed) = (Vec::new(), true);
    for release in [None, Some("3.5"), Some("3.6"), Some("3.7")] {
        let name = release.unwrap_or("installed");
        if release.is_some_and(|release| kit::etcd::Release::named(release).is_err()) {
            rows.push(format!("{name:<10} skipped: it is not in {}", workspace::tools().display()));
            continue;
        }
        let tests = on_etcd(release, &format!("{ON_LOOPBACK} | {IN_THE_LAB}"))?;
        all_passed &= tests.passed;
        rows.push(format!("{name:<10} {}", tests.closing_line.trim()));
    }
    eprintln!("\n{}", rows.join("\n"));
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Agreement, learners, streams and v2 detection of the client; nights of the cluster, drills. Left out are tests of v2 keys, which no
/// release from 3.6 on has (so no `etcdctl backup` either), of comparisons between releases, and of rates.
const ON_LOOPBACK: &str = "package(nightshift-etcd) & binary(it) & not test(/^(v2|variants|numbers|torn)::/) \
                           | package(nightshift-tests) & binary(integration) & (test(/^(etcd|night|drill)::/) - test(the_runbooks_backup))";

/// The whole night of a cluster of three members, on hosts.
const IN_THE_LAB: &str = "package(nightshift-tests) & binary(lab) & test(/^night::/)";

/// Those tests on a release of etcd, or on the installed one.
fn on_etcd(release: Option<&str>, filter: &str) -> Result<Tests> {
    let mut runner = command(&["cargo", "nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    runner.args(["-E", filter]);
    if let Some(release) = release {
        runner.env("NIGHTSHIFT_ETCD", release);
    }
    watched(runner)
}

/// The pinned runner, for whatever its own options can do.
pub fn nextest(arguments: &[&str]) -> Result<()> {
    setup::for_checks()?;
    step(command(&["cargo", "nextest"]).args(arguments))
}

fn parts(times: &mut Times) -> Result<Tests> {
    times.part("set-up", setup::for_tests)?;
    times.part("format", || step(&mut command(&["cargo", "fmt", "--all", "--check"])))?;
    times.part("dependencies", dependencies)?;
    times.part("lints", lints)?;
    times.part("docs", docs)?;
    times.part("build", build)?;
    times.part("fuzz targets", fuzz::build_snapshot)?;
    times.part("no syncs", no_sync::must_fail)?;
    let on_newer = times.part("etcd 3.6", on_newer_etcd)?;
    let mut tests = times.part("tests", tests)?;
    tests.passed &= on_newer;
    Ok(tests)
}

/// The tests of a cluster once more, on the release that today's Kubernetes runs on. Returns whether all of them are good.
fn on_newer_etcd() -> Result<bool> {
    if !kit::require(kit::etcd::Release::named("3.6").map(drop)) {
        return Ok(true);
    }
    let tests = on_etcd(Some("3.6"), ON_LOOPBACK)?;
    eprintln!("{}", tests.closing_line);
    Ok(tests.passed)
}

/// cargo-deny reads the whole lock file, so it needs the crates of every platform; a build fetches only those of its own.
fn dependencies() -> Result<()> {
    step(&mut command(&["cargo", "fetch", "--locked"]))?;
    step(&mut command(&["cargo", "deny", "--offline", "--locked", "check", "bans", "licenses", "sources"]))?;
    if succeeds(&["cargo", "deny", "fetch", "db"]) {
        return step(&mut command(&["cargo", "deny", "check", "--disable-fetch", "advisories"]));
    }
    println!("skipping advisories: cannot download their database");
    Ok(())
}

fn lints() -> Result<()> {
    let line = ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    step(&mut command(&line))
}

fn docs() -> Result<()> {
    let line = ["cargo", "doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    step(command(&line).env("RUSTDOCFLAGS", "-D warnings"))
}

/// All targets at once: with the features that the tests have, and with the program that tests of other crates run.
fn build() -> Result<()> {
    step(&mut command(&["cargo", "build", "--workspace", "--all-targets", "--locked"]))
}

struct Tests {
    passed: bool,
    closing_line: String,
}

fn tests() -> Result<Tests> {
    if let Err(reason) = kit::lab::available() {
        eprintln!("\nskipping the lab's tests: {reason}");
    }
    let mut runner = command(&["cargo", "nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    if std::io::stderr().is_terminal() {
        runner.args(["--color", "always", "--status-level", "pass"]);
    }
    watched(runner)
}

/// Shows what the runner prints, but keeps its closing line for later: after a failure, other lines follow it.
fn watched(mut runner: Command) -> Result<Tests> {
    let line = show(&runner);
    let mut child = runner
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start { line: line.clone(), source })?;
    let mut closing_line = None;
    for printed in child.stderr.take().into_iter().flat_map(|pipe| BufReader::new(pipe).split(b'\n')) {
        let printed = printed.map_err(Error::io("read the output of", "cargo nextest"))?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        if printed.contains("Summary") && printed.contains(" tests run: ") {
            closing_line = Some(printed);
        } else {
            eprintln!("{printed}");
        }
    }
    let status = child.wait().map_err(|source| Error::Start { line: line.clone(), source })?;
    // Without one the tests did not run, such as when they do not compile.
    let closing_line = closing_line.ok_or(Error::Failed { line, status })?;
    Ok(Tests { passed: status.success(), closing_line })
}
