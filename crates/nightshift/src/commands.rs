//! The commands, one file each.

mod archive_file;
mod backup;
mod check;
mod cold_copy;
mod content;
mod daemon;
mod drill;
mod drill_worker;
mod error;
mod generate;
mod here;
mod hook;
mod init;
mod inspect;
mod keys;
mod metrics;
mod nights;
mod notify;
mod plan;
mod progress;
mod prune;
mod reload;
mod restore;
mod restore_points;
mod run;
mod scratch;
mod sets;
mod status;
mod trust;
mod verify;
mod yaml;

use nightshift_engine::logging::begin_foreground;
use nightshift_etcd::trial::child::become_program;
use nightshift_etcd::trial::scratch::sweep;

use crate::args::{Backup, Cli, Command, Nights, Sets};
use crate::exit::Exit;
use crate::out;

pub use error::CommandError;
use here::here;

pub fn run(cli: Cli) -> Result<Exit, CommandError> {
    let config = cli.config;
    // The others write to the journal, or report over a pipe.
    let is_foreground = !matches!(
        cli.command,
        Command::Daemon { .. }
            | Command::ColdCopy(_)
            | Command::DrillWorker { .. }
            | Command::DrillEtcd { .. }
    );
    if is_foreground {
        begin_foreground(out::print_error);
    }
    match cli.command {
        Command::Daemon { user } => daemon::run(config, user.as_deref()),
        Command::Check(args) => here(check::run(&config, &args)),
        Command::Plan { night, json } => plan::run(&config, night, json),
        Command::Status(args) => here(status::run(&config, &args)),
        Command::Metrics => here(metrics::run(&config)),
        Command::MetricsServe { report } => metrics::serve(&report),
        Command::MetricsStopped => metrics::stopped(&config),
        Command::Notify(args) => here(notify::run(&config, args)),
        Command::NotifySend => here(notify::send(&config)),
        Command::Hook { test } => here(hook::run(&config, test)),
        Command::HookRun => here(hook::serve(&config)),
        Command::Run(args) => here(run::run(&config, args)),
        Command::Backup(Backup::Now(args)) => here(backup::now(&config, args)),
        Command::Reload => here(reload::run(&config)),
        Command::Nights { command: Some(Nights::Close), .. } => here(nights::close(&config)),
        Command::Nights { command: Some(Nights::Keep { night, until, not }), .. } => {
            here(nights::keep(&config, night, until, not))
        }
        Command::Nights { command: None, restore_points: true, json, .. } => {
            restore_points::run(&config, json)
        }
        Command::Nights { command: None, night, json, .. } => nights::run(&config, night, json),
        Command::Sets { command: Some(Sets::Accept { set, yes }), .. } => {
            here(sets::accept(&config, set, yes))
        }
        Command::Sets { command: Some(Sets::Forget { host, yes }), .. } => {
            here(sets::forget(&config, host, yes))
        }
        Command::Sets { command: None, json } => sets::run(&config, json),
        // The option is required: the pruning itself is a stage.
        Command::Prune { dry_run: _, json } => here(prune::run(&config, json)),
        Command::Verify(args) => verify::run(&config, &args),
        Command::Drill(args) => drill::run(&config, &args),
        Command::DrillWorker { parent } => drill_worker::run(parent),
        Command::DrillEtcd { parent, program } => Err(become_program(parent, &program).into()),
        Command::DrillSweep { scratch } => Ok(sweep(&scratch).map(|()| Exit::Good)?),
        Command::Inspect(args) => inspect::run(&config, args),
        Command::Restore(command) => restore::run(&config, command),
        Command::Init(args) => init::run(&args),
        Command::Keys(keys) => keys::run(&config, keys),
        Command::Trust(args) => here(trust::run(&config, &args)),
        Command::ColdCopy(command) => here(cold_copy::run(&config, command)),
        Command::Generate { directory } => generate::run(&directory),
    }
}
