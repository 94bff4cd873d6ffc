//! Whether there is too little space for a set, or for the record of a night.

use std::path::Path;

use nightshift_core::settings::Settings;
use nightshift_core::units::bytes;
use nightshift_store::space::{Room, room, same_file_system};

/// What the record of a night needs at least.
const MIN_STATE: u64 = 1 << 20;

/// What has too little space, and what follows.
pub fn full(settings: &Settings) -> Vec<String> {
    let (vault, state, min_free) = (&settings.vault.path, &settings.paths.state, settings.vault.min_free);
    let limit = format!("[vault] min-free ({})", bytes(min_free));
    let of_vault = lack(vault, min_free, &limit).map(|lack| {
        format!(
            "the vault {path}: {lack}, so no set is stored; see `df -h {path}; df -i {path}`, and `nightshift prune --dry-run` for what the policy keeps",
            path = vault.display()
        )
    });
    let of_state = || {
        let lack = lack(state, MIN_STATE, &bytes(MIN_STATE))?;
        let state = state.display();
        Some(format!("{state}: {lack}, so no night can be recorded; see `df -h {state}; df -i {state}`"))
    };
    let of_state = if same_file_system(vault, state) { None } else { of_state() };
    of_vault.into_iter().chain(of_state).collect()
}

fn lack(path: &Path, min: u64, limit: &str) -> Option<String> {
    // One that cannot be read is reported with the space of the vault.
    match room(path).ok()? {
        Room { free, .. } if free < min => Some(format!("{} free, less than {limit}", bytes(free))),
        Room { inodes: Some(0), .. } => Some("no inode is free".to_owned()),
        _ => None,
    }
}
