//! `nightshift check`: checks the config, and with --connect also peers, remotes and etcd. Each result is a line that ends in
//! OK, FAIL or SKIPPED.

mod connect;
mod etcd;
mod etcd_data;
mod hook;
mod line;
mod machine;
mod notify;
mod program;
mod ready;

use std::path::Path;

use nightshift_core::agenda::SYNCHRONISE;
use nightshift_core::reason::ReasonCode;
use nightshift_core::settings::Settings;
use nightshift_core::units::count;
use nightshift_engine::control::{ClientError, ControlRequest, ControlResponse, send};
use nightshift_store::{StoreError, Vault};

use self::line::print_result;
use super::CommandError;
use crate::args::Check;
use crate::exit::Exit;
use crate::{config_file, out, report};

pub async fn run(config: &Path, args: &Check) -> Result<Exit, CommandError> {
    let loaded = config_file::load(config)?;
    for warning in &loaded.warnings {
        out::print_error_text(&warning.to_string());
    }
    if args.show {
        out::print_text(&loaded.show());
        return Ok(Exit::Good);
    }
    let settings = &loaded.settings;
    if !print_result("config", roles(settings)) {
        return Ok(Exit::Config);
    }
    for warning in machine::warnings(settings) {
        out::print_error(&format!("warning: {warning}"));
    }
    clock(settings).await;
    let mut good = vault(settings);
    good &= files(settings).await;
    in_force(settings).await;
    good &= ready::run(settings).await;
    if args.connect {
        good &= connect::run(settings).await;
    }
    Ok(if good { Exit::Good } else { Exit::Failed })
}

fn roles(settings: &Settings) -> Result<String, String> {
    let (host, roles, cluster) = (&settings.this, settings.roles(), &settings.cluster);
    if roles.is_empty() {
        return Err(format!(
            "{host} has no role in cluster {cluster}, so the daemon would not start; add the host to the inventory"
        ));
    }
    let hosts = count(settings.inventory.len(), "host");
    let remotes = count(settings.remotes.len(), "remote");
    Ok(format!("{host} ({roles}) of cluster {cluster}, {hosts}, {remotes}"))
}

/// Whether the vault is the one that was used before.
fn vault(settings: &Settings) -> bool {
    match Vault::of(settings).check_mark() {
        Err(error @ StoreError::LostVault { .. }) => print_result("vault", Err(report::in_full(&error))),
        // What cannot be read is in the warnings about this machine.
        _ => true,
    }
}

async fn clock(settings: &Settings) {
    if settings.trust_clock {
        out::print("clock: `trust-clock` in [night] is set, so its synchronisation is not checked: SKIPPED");
    } else if nightshift_engine::clock::query().await {
        out::print("clock: synchronised: OK");
    } else {
        out::print_error(&format!(
            "warning: the clock is not synchronised, so every night opens 15 minutes late and removes nothing; {SYNCHRONISE}"
        ));
    }
}

/// Whether the running daemon uses what its files have. The files that were checked may be others.
async fn in_force(settings: &Settings) {
    let request = ControlRequest::Status { facts: false };
    let Ok(ControlResponse::Status(report)) = send(&settings.paths.socket(), &request).await else { return };
    let differs = [ReasonCode::ConfigDiffers, ReasonCode::ConfigRefused];
    for warning in report.warnings.iter().filter(|warning| differs.contains(&warning.code)) {
        out::print_error(&format!("warning: {warning}"));
    }
}

/// Whether the daemon can read the configured files. Only the daemon can answer that: root's shell is not in its sandbox.
async fn files(settings: &Settings) -> bool {
    match send(&settings.paths.socket(), &ControlRequest::Readable).await {
        Ok(ControlResponse::Readable { faults, notes }) => {
            notes.iter().for_each(|note| out::print(format!("note: {note}")));
            for fault in &faults {
                print_result("files", Err(format!("the daemon cannot read {fault}")));
            }
            faults.is_empty() && print_result("files", Ok("the daemon can read them".to_owned()))
        }
        Ok(other) => super::run::print_response(other) == Exit::Good,
        Err(ClientError::Away { .. }) => {
            out::print("files: the daemon is not running, so file permissions are not checked: SKIPPED");
            true
        }
        Err(error) => {
            out::print(format!("files: file permissions are not checked ({error}): SKIPPED"));
            true
        }
    }
}
