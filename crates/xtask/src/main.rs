//! The project's own commands: `cargo xtask`.

mod bench;
mod demo;
mod error;
mod house;
mod lab;
mod newer_etcd;
mod package;
mod run;
mod setup;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use error::{Error, Result};

const USAGE: &str = "\
cargo xtask COMMAND

  setup                install what the other commands need and this machine lacks
  test                 format, lints, dependencies, docs, then every test
  demo                 run a whole night of three masters on this machine, and show it
  package              build the .deb and the .rpm into target/packages/
  house                show each crate's size and every circle of files in it
  bench [PART...]      measure it beside what else one would use, and write BENCHMARKS.md
  lab up               boot a cluster of real hosts that stays
  lab night            install nightshift on it and let a night open
  lab exec HOST LINE   run a shell line on one of its hosts
  lab down             take it down";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["setup"] => setup::everything()?,
        ["test"] => test::run()?,
        ["demo"] => demo::run()?,
        ["package"] => {
            let made = package::both()?;
            println!("\n{}\n{}", made.deb.display(), made.rpm.display());
        }
        ["house"] => return Ok(if house::run()? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        ["bench", parts @ ..] => bench::run(parts)?,
        ["lab", "up"] => lab::up()?,
        ["lab", "night"] => lab::night()?,
        ["lab", "exec", host, line @ ..] if !line.is_empty() => return lab::exec(host, &line.join(" ")),
        ["lab", "down"] => lab::down()?,
        ["help" | "--help" | "-h"] => println!("{USAGE}"),
        _ => return Err(Error::Usage(USAGE)),
    }
    Ok(ExitCode::SUCCESS)
}
