//! The `nightshift` program.

mod args;
mod commands;
mod config_file;
mod exit;
mod out;
mod report;

fn main() -> std::process::ExitCode {
    report::end(args::parse().and_then(commands::run))
}
