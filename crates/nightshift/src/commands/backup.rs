//! `nightshift backup now`: an extra night on all hosts of the cluster, over the operator's own ssh.

use std::path::Path;

use jiff::Timestamp;
use nightshift_core::restore::machine::{Machine, running};
use nightshift_core::units::count;
use nightshift_restore::backup::Backup;
use nightshift_restore::conductor::DEGRADED;
use nightshift_restore::login::Login;

use super::CommandError;
use crate::args::BackupNow;
use crate::exit::Exit;
use crate::{config_file, out, report};

pub async fn now(config: &Path, args: BackupNow) -> Result<Exit, CommandError> {
    let settings = config_file::of_cluster(config)?;
    let login = Login::from(args.login);
    let mut machines: Vec<Machine> = Vec::new();
    for host in settings.inventory.hosts() {
        if host.agentless {
            // The masters collect its files.
        } else if host.expected {
            machines.push(running(host));
        } else {
            out::print(format!("{}: left out (`expected = false`)", host.name));
        }
    }
    let backup = Backup::new(&login, args.label, args.wait, settings.window.today(Timestamp::now()));
    let (night, machines, absent) = backup.common_night(&machines).await;
    for (host, error) in &absent {
        out::print_error(&format!("nightshift: {host}: no backup: {}", report::in_full(error)));
    }
    let Some(night) = night else {
        return Err(CommandError::Absent(
            "no host takes part in the backup: the lines above say why for each host".to_owned(),
        ));
    };
    out::print(format!("night {night} on {}", count(machines.len(), "host")));
    let (mut good, mut degraded) = (0, !absent.is_empty());
    let without = absent.into_iter().map(|(host, _)| host).collect();
    backup
        .run(night, machines, without, |host, result| match result {
            Ok(outcome) => {
                good += 1;
                let notes: Vec<String> = outcome.notes.iter().map(ToString::to_string).collect();
                degraded |= notes.iter().any(|note| note.starts_with(DEGRADED));
                out::print(format!("{host}: {}", notes.join("; ")));
            }
            Err(error) => {
                degraded = true;
                out::print_error(&format!("nightshift: {host}: no backup: {}", report::in_full(error)));
            }
        })
        .await;
    Ok(match (good, degraded) {
        (0, _) => Exit::Failed,
        (_, true) => Exit::Degraded,
        (_, false) => Exit::Good,
    })
}
