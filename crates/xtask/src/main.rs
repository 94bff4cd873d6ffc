//! The project's own commands: `cargo xtask`.

mod bench;
mod check;
mod demo;
mod error;
mod fuzz;
mod go_programs;
mod house;
mod lab;
mod newer_etcd;
mod no_sync;
mod package;
mod run;
mod setup;
mod test;
mod times;
mod tools;
mod workspace;

use std::process::ExitCode;

use error::{Error, Result};

const USAGE: &str = "\
cargo xtask COMMAND

  setup                install what the other commands need and this machine lacks
  check [CRATE...]     format, clippy and unit tests of these crates, and the tidy rules: what to run while you work
                       (without CRATE: the crates that differ from main, committed or not)
  test                 everything: format, lints, dependencies, docs, build, and every test of nightshift
  test kit             the tests of the tests' own machinery: the lab's power cuts, its networks, its etcd
  test etcd            the tests that depend on etcd, on 3.4, 3.5, 3.6 and 3.7, as a table
  nextest ARGS...      run the pinned cargo-nextest, such as: nextest run --package nightshift-core retention
  fuzz [SECONDS]       build the fuzz targets, and run each of them so long
  demo                 run a whole night of three masters on this machine, and show it
  package              build the .deb, the .rpm and the .el7.rpm for glibc 2.17 and newer into target/packages/, and smoke-test them
  package twice        and build them again in another directory, and compare
  house                show each crate's size and every circle of files in it
  bench [PART...]      compare with what users would otherwise use, and write BENCHMARKS.md
  lab up               boot a cluster of real hosts, which keeps running
  lab night            install nightshift on it and run a night
  lab exec HOST LINE   run a shell line on one of its hosts
  lab down             stop it and remove it
  lab restore          restore a lost cluster that is interrupted after each act, and by power cuts; prints a table (30 minutes)
  lab kubernetes       restore objects and lost clusters with a real API server and kubelet, which are built first (11 minutes)
  lab operators [WORD...]
                       the suite on the packages' program; nights of it on Debian 12, 13 and sid; fresh hosts set up with the
                       Ansible role, and again without a change (with WORD: only tests whose names contain one)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprintln!("  caused by: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["setup"] => setup::everything()?,
        ["check", crates @ ..] => check::run(crates)?,
        ["test"] => return test::run(),
        ["test", "kit"] => test::kit()?,
        ["test", "etcd"] => return test::etcd(),
        ["nextest", arguments @ ..] => test::nextest(arguments)?,
        ["fuzz"] => return succeeded(fuzz::run(None)?),
        ["fuzz", seconds] => {
            return succeeded(fuzz::run(Some(seconds.parse().map_err(|_| Error::Usage(USAGE))?))?);
        }
        ["demo"] => demo::run()?,
        ["package"] => package::run()?,
        ["package", "twice"] => package::twice()?,
        ["house"] => return succeeded(house::run()?),
        ["bench", parts @ ..] => bench::run(parts)?,
        ["lab", "up"] => lab::up()?,
        ["lab", "night"] => lab::night()?,
        ["lab", "exec", host, line @ ..] if !line.is_empty() => return lab::exec(host, &line.join(" ")),
        ["lab", "down"] => lab::down()?,
        ["lab", "restore"] => test::interrupted_restores()?,
        ["lab", "kubernetes"] => test::kubernetes()?,
        ["lab", "operators", words @ ..] => test::operators(words)?,
        ["help" | "--help" | "-h"] => println!("{USAGE}"),
        _ => return Err(Error::Usage(USAGE)),
    }
    Ok(ExitCode::SUCCESS)
}

fn succeeded(all_good: bool) -> Result<ExitCode> {
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
