//! What of this machine may get in the way: a journal that forgets, a vault that will be full, no etcd to drill with.

use std::fs;
use std::path::Path;

use nightshift_core::manifest::Manifest;
use nightshift_core::night::Night;
use nightshift_core::retention::Keep;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::units::bytes;
use nightshift_etcd::trial::missing_tools;
use nightshift_store::space;
use nightshift_store::{StoreError, Vault};

/// Where a persistent journal lies; without it, what a night tells is gone with the next boot.
const JOURNAL: &str = "/var/log/journal";
const JOURNALD: [&str; 2] = ["/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d"];
/// Lines of the journal that one host of the inventory may take within journald's interval.
const LINES_PER_HOST: u64 = 4;

/// Warnings, one line each.
pub fn warnings(settings: &Settings) -> Result<Vec<String>, StoreError> {
    let mut warnings = journal(settings);
    warnings.extend(vault(settings)?);
    warnings.extend(drill(settings));
    Ok(warnings)
}

fn journal(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if !Path::new(JOURNAL).is_dir() {
        warnings.push(format!(
            "the journal is volatile ({JOURNAL} is not there): what a night tells is gone with the next boot; mkdir {JOURNAL} and restart systemd-journald"
        ));
    }
    let need = LINES_PER_HOST * settings.inventory.len() as u64;
    if let Some(burst) = burst_limit().filter(|burst| *burst > 0 && *burst < need) {
        warnings.push(format!(
            "journald drops what comes faster than RateLimitBurst={burst}; {} hosts may need {need}",
            settings.inventory.len()
        ));
    }
    warnings
}

/// Whether this host can do what it will be asked for when it is its turn.
fn drill(settings: &Settings) -> Option<String> {
    let drill = &settings.drill;
    let missing =
        missing_tools(drill.etcd_tools.as_deref()).filter(|_| drill.hosts.contains(&settings.this))?;
    Some(format!("in its turn at the drill this host can prove nothing: {missing}"))
}

/// The last `RateLimitBurst=` that is set on this machine, drop-ins last.
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

/// What the policy will hold if every night is like the newest one here, and nothing is unchanged.
fn vault(settings: &Settings) -> Result<Option<String>, StoreError> {
    let vault = Vault::new(&settings.vault.path);
    let sets = vault.sets()?;
    let Some(newest) = sets.iter().map(|set| set.night).max() else { return Ok(None) };
    let manifests = sets
        .iter()
        .filter(|set| set.night == newest)
        .map(|set| vault.manifest(set))
        .collect::<Result<Vec<_>, _>>()?;
    let need: u64 = manifests.iter().map(|manifest| kept_bytes(settings, manifest)).sum();
    let room = space::room(&settings.vault.path)?;
    Ok(warn_of_space(settings, newest, need, room.total))
}

fn kept_bytes(settings: &Settings, manifest: &Manifest) -> u64 {
    let keep = if manifest.role == Role::Etcd { settings.vault.keep_etcd } else { settings.vault.keep };
    let Keep { nights, weeks, months } = keep;
    manifest.total_bytes() * (u64::from(nights) + u64::from(weeks) + u64::from(months))
}

fn warn_of_space(settings: &Settings, newest: Night, need: u64, total: u64) -> Option<String> {
    (need.saturating_add(settings.vault.min_free) > total).then(|| {
        format!(
            "if every night is as large as {newest}, [vault] keep needs up to {} and {} free beside it, and {} has {} in all",
            bytes(need),
            bytes(settings.vault.min_free),
            settings.vault.path.display(),
            bytes(total)
        )
    })
}
