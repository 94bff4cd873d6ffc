//! `now.json`: written each minute and at each stage's end, for the others to read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nightshift_core::hint::{self, Hint, StageHint};
use nightshift_core::record::Record;
use nightshift_core::settings::Settings;
use nightshift_store::{IoContext as _, StoreError, Vault, create_directories, replace_file};

/// What is the same all night: also what a peer's hint is compared with.
pub fn basics(settings: &Settings) -> Hint {
    Hint {
        format: hint::FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        cluster: settings.cluster.clone(),
        host: settings.this.clone(),
        zone: hint::zone_name(settings).into(),
        night: None,
        inventory: hint::inventory_digest(settings),
        window: hint::window_digest(settings),
        at: Timestamp::now(),
        synchronised: true,
        stages: BTreeMap::new(),
    }
}

/// Writes how this host fares in the open night, if one is.
pub fn write(
    settings: &Settings,
    vault: &Vault,
    record: Option<&Record>,
    synchronised: bool,
) -> Result<(), StoreError> {
    let mut hint = Hint { synchronised, ..basics(settings) };
    if let Some(record) = record {
        hint.night = Some(record.night);
        hint.stages = record
            .stages
            .iter()
            .filter_map(|(stage, state)| {
                Some((
                    *stage,
                    StageHint { outcome: state.outcome?, reason: state.reason.as_deref().map(Into::into) },
                ))
            })
            .collect();
    }
    let directory = vault.host_directory(&settings.this);
    vault.ensure_mark()?;
    create_directories(&directory)?;
    let path = directory.join(hint::FILE);
    let bytes = serde_json::to_vec_pretty(&hint).map_err(std::io::Error::from).on("write", &path)?;
    replace_file(&path, &bytes)
}
