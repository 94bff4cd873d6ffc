//! The `nightshift` program.

mod args;
mod commands;
mod config_file;
mod exit;
mod out;
mod report;

fn main() -> std::process::ExitCode {
    report::end(commands::run(args::parse()))
}
