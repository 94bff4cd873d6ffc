//! Warnings about this machine: a volatile journal, a vault that is too small, no etcd binary for drills.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nightshift_core::inventory::Host;
use nightshift_core::manifest::Manifest;
use nightshift_core::night::Night;
use nightshift_core::retention::Keep;
use nightshift_core::role::Role;
use nightshift_core::settings::{EtcdTools, Settings};
use nightshift_core::units::bytes;
use nightshift_engine::drill::perform::{UNIT_SCRATCH, socket};
use nightshift_etcd::kept_tools::are_kept;
use nightshift_etcd::trial::tools::missing_tools;
use nightshift_ssh::KnownHosts;
use nightshift_store::{Listed, StoreError, Vault, space};

use crate::report;

/// If this directory does not exist, journald keeps the journal in memory, and it is lost at the next boot.
const JOURNAL: &str = "/var/log/journal";
const JOURNALD: [&str; 2] = ["/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d"];
/// How many lines a night may log for one host of the inventory within journald's RateLimitIntervalSec= (30 s).
const LINES_PER_HOST: u64 = 4;

/// Warnings, one line each.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = journal(settings);
    warnings.extend(nightshift_engine::status::full(settings));
    warnings.extend(vault(settings));
    warnings.extend(pins(settings));
    warnings.extend(drill(settings));
    warnings.extend(super::notify::warnings(settings));
    warnings.extend(super::hook::warnings(settings));
    // Whether the daemon may write there is the daemon's answer; that the directory is absent is seen without it.
    let absent = |path: &&Path| path.parent().is_none_or(|directory| !directory.is_dir());
    let textfile = settings.metrics.textfile.as_deref().filter(absent);
    warnings.extend(textfile.and_then(|_| nightshift_engine::metrics_file::obstacle(settings)));
    let owner = |path: &Path| fs::metadata(path).map(|found| found.uid()).ok();
    let scratch = settings.drill.scratch.as_deref();
    warnings
        .extend(scratch.and_then(|path| foreign_scratch(path, owner(path), owner(Path::new(UNIT_SCRATCH)))));
    warnings
}

/// Hosts whose signatures cannot be checked, because only a certificate authority is trusted for them.
fn pins(settings: &Settings) -> Vec<String> {
    let Ok(known) = KnownHosts::load(&settings.ssh.known_hosts) else { return Vec::new() };
    let peers = settings.inventory.hosts().filter(|host| host.name != settings.this && !host.agentless);
    let without_pin = peers.filter(|host| {
        let names = nightshift_peers::endpoint(host).known_as;
        known.has_authority(&names, host.port) && !known.has_plain_pin(&names, host.port)
    });
    let name = |host: &Host| {
        format!(
            "{}: only a certificate authority (@cert-authority) is trusted for it; its logins work, but its signatures cannot be \
             checked, so its sets count only if they come from itself; pin its plain key too: nightshift trust {}",
            host.name, host.name
        )
    };
    without_pin.map(name).collect()
}

fn journal(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if !Path::new(JOURNAL).is_dir() {
        warnings.push(format!(
            "the journal is volatile ({JOURNAL} does not exist), so the log of a night is lost at the next boot; run `mkdir {JOURNAL}` and restart systemd-journald"
        ));
    }
    let need = LINES_PER_HOST * settings.inventory.len() as u64;
    if let Some(burst) = burst_limit().filter(|burst| *burst > 0 && *burst < need) {
        warnings.push(format!(
            "journald may drop log lines: RateLimitBurst={burst}, but {} hosts may need {need}; raise it in {}",
            settings.inventory.len(),
            JOURNALD[0]
        ));
    }
    warnings
}

/// Whether this host has the tools for its drills, if it is one of the drill hosts.
fn drill(settings: &Settings) -> Option<String> {
    let drill = &settings.drill;
    let missing = missing_tools(&drill.etcd_tools).filter(|_| drill.hosts.contains(&settings.this))?;
    let kept =
        if drill.etcd_tools == EtcdTools::Auto { are_kept(&settings.paths.state) } else { Some(false) };
    let reason = match kept {
        Some(true) if socket(settings).exists() => return None,
        Some(true) => {
            "; those of the member's container are run only in the drill's unit: run `systemctl enable --now nightshift-drill.socket`"
        }
        Some(false) => "",
        None => "; whether those of the member's container are kept is unchecked: run this command as root",
    };
    Some(format!("this host cannot run its restore drill: {missing}{reason}"))
}

/// Whether the drill's unit cannot use the configured scratch directory, because it belongs to another user than its own one.
fn foreign_scratch(scratch: &Path, owner: Option<u32>, of_unit: Option<u32>) -> Option<String> {
    (owner? != of_unit?).then(|| {
        let scratch = scratch.display();
        format!(
            "drills cannot use {scratch} ([drill] scratch): it must belong to the user nightshift-drill; run `chown nightshift-drill:nightshift-drill {scratch}`"
        )
    })
}

/// The effective `RateLimitBurst=`: the last one wins, and drop-ins follow the main file.
fn burst_limit() -> Option<u64> {
    let mut files = vec![Path::new(JOURNALD[0]).to_owned()];
    let drop_ins = fs::read_dir(JOURNALD[1]).into_iter().flatten().flatten();
    let mut drop_ins: Vec<_> = drop_ins.map(|entry| entry.path()).collect();
    drop_ins.sort();
    files.extend(drop_ins);
    let texts: Vec<String> = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let limits = texts.iter().flat_map(|text| text.lines());
    limits.rev().find_map(|line| line.trim().strip_prefix("RateLimitBurst=")?.trim().parse().ok())
}

/// Estimates how much space the retention policy needs if every night is as large as the newest one, without hard links to
/// unchanged files. What cannot be read is a warning, and is not counted.
fn vault(settings: &Settings) -> Vec<String> {
    let vault = Vault::of(settings);
    let Listed { sets, unlisted } = match vault.list() {
        Ok(listed) => listed,
        Err(error) => return vec![unread(&error)],
    };
    let mut warnings: Vec<String> = unlisted.iter().map(unread).collect();
    let Some(newest) = sets.iter().map(|set| set.night).max() else { return warnings };
    let mut need: u64 = 0;
    for set in sets.iter().filter(|set| set.night == newest) {
        match vault.manifest(set) {
            Ok(manifest) => need = need.saturating_add(kept_bytes(settings, &manifest)),
            Err(error) => warnings.push(unread(&error)),
        }
    }
    match space::room(&settings.vault.path) {
        Ok(room) => warnings.extend(warn_of_space(settings, newest, need, room.total)),
        Err(error) => warnings.push(unread(&error)),
    }
    warnings
}

fn unread(error: &StoreError) -> String {
    format!("the size of the vault is not checked in full: {}", report::in_full(error))
}

fn kept_bytes(settings: &Settings, manifest: &Manifest) -> u64 {
    let keep = if manifest.role == Role::Etcd { settings.vault.keep_etcd } else { settings.vault.keep };
    let Keep { nights, weeks, months } = keep;
    manifest.total_bytes() * (u64::from(nights) + u64::from(weeks) + u64::from(months))
}

fn warn_of_space(settings: &Settings, newest: Night, need: u64, total: u64) -> Option<String> {
    // A file system that does not know its size has 0.
    (total > 0 && need.saturating_add(settings.vault.min_free) > total).then(|| {
        format!(
            "{}: the filesystem has {}, but [vault] keep may need {} (if every night is as large as {newest}) and min_free {}; keep fewer nights, or enlarge it",
            settings.vault.path.display(),
            bytes(total),
            bytes(need),
            bytes(settings.vault.min_free)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_of_another_user_than_the_units_is_reported() {
        let warning = |found, of_unit| foreign_scratch(Path::new("/backup/drill"), found, of_unit);
        assert_eq!(
            (warning(Some(990), Some(990)), warning(Some(0), None), warning(None, Some(990))),
            (None, None, None)
        );
        assert!(warning(Some(0), Some(990)).is_some_and(|warning| {
            warning.contains("chown nightshift-drill:nightshift-drill /backup/drill")
        }));
    }
}
