//! How often the member was about to be stopped tonight: whatever goes wrong again and again does not stop it for ever.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nightshift_core::night::Night;
use serde::{Deserialize, Serialize};

use nightshift_store::{StoreError, read_bounded, replace_file};

const FILE: &str = "begun";
const MAX_BYTES: u64 = 4 << 10;
/// One a night is the rule. A daemon that is killed, a power cut and whoever asks by hand each begin another one, so a bad
/// night has some more; a loop has no end.
pub const STOPS_A_NIGHT: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    night: Night,
    count: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum TallyError {
    #[error(
        "a cold copy of this member was begun {count} times in the night {night}, and is not begun again: see why they failed \
         in `journalctl -t nightshift`, then remove {} to have another one", .path.display()
    )]
    TooMany { count: u32, night: Night, path: PathBuf },
    #[error("how often the member was stopped tonight is not known: {} says nothing that is understood; remove it", .path.display())]
    Shape { path: PathBuf, source: serde_json::Error },
    #[error("{} cannot be looked for", .path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Counts one more in root's own folder, on disk when this returns; an error where there were enough.
pub fn count(folder: &Path, night: Night) -> Result<(), TallyError> {
    let path = folder.join(FILE);
    let begun = match read(&path)? {
        // Only a later date begins anew: else two nights that take turns, or extra ones, would never be too many.
        Some(last) if night.date <= last.night.date => Begun { count: last.count.saturating_add(1), ..last },
        _ => Begun { night, count: 1 },
    };
    if begun.count > STOPS_A_NIGHT {
        return Err(TallyError::TooMany { count: begun.count - 1, night: begun.night, path });
    }
    let bytes =
        serde_json::to_vec(&begun).map_err(|source| TallyError::Shape { path: path.clone(), source })?;
    Ok(replace_file(&path, &bytes)?)
}

fn read(path: &Path) -> Result<Option<Begun>, TallyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TallyError::Look { path: path.to_owned(), source }),
    }
    let bytes = read_bounded(path, MAX_BYTES)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| TallyError::Shape { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn night(text: &str) -> Night {
        text.parse().unwrap()
    }

    #[test]
    fn a_night_has_so_many_stops_and_the_next_one_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..STOPS_A_NIGHT {
            count(folder.path(), night("2026-11-22")).unwrap();
        }
        for again in ["2026-11-22", "2026-11-21", "2026-11-22.1"] {
            let error = count(folder.path(), night(again)).unwrap_err().to_string();
            assert!(error.contains("8 times in the night 2026-11-22"), "{error}");
        }
        count(folder.path(), night("2026-11-23")).unwrap();
    }

    #[test]
    fn a_tally_that_says_nothing_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{}").unwrap();
        assert!(matches!(count(folder.path(), night("2026-11-22")), Err(TallyError::Shape { .. })));
    }
}
