//! `nightshift`: the door to it all.

mod args;
mod commands;
mod config_file;
mod exit;
mod out;
mod report;

fn main() -> std::process::ExitCode {
    report::end(commands::run(args::parse()))
}
