//! How often the member was stopped tonight: a failure that repeats must not stop it again and again.

use std::path::{Path, PathBuf};

use nightshift_core::night::Night;
use nightshift_store::{StoreError, read_if_exists, replace_file};
use serde::{Deserialize, Serialize};

const FILE: &str = "begun";
const MAX_BYTES: u64 = 4 << 10;
/// Usually there is one stop a night. A killed daemon, a power cut and an operator each cause another one; a loop would cause any
/// number.
pub const MAX_STOPS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stops {
    night: Night,
    count: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum TallyError {
    #[error(
        "this member was stopped {count} times for cold copies in night {night}, and is not stopped again; see why they failed in \
         `journalctl -t nightshift`, then remove {} to allow another one", .path.display()
    )]
    TooMany { count: u32, night: Night, path: PathBuf },
    #[error("cannot tell how often the member was stopped tonight: {} is invalid; remove it", .path.display())]
    Shape { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An error if there were too many stops for another one.
pub fn require_fewer(directory: &Path, night: Night) -> Result<(), TallyError> {
    one_more(&directory.join(FILE), night).map(drop)
}

/// Counts one more stop in root's own directory, synced when this returns. An error if there were too many.
pub fn count(directory: &Path, night: Night) -> Result<(), TallyError> {
    let path = directory.join(FILE);
    let stops = one_more(&path, night)?;
    let bytes =
        serde_json::to_vec(&stops).map_err(|source| TallyError::Shape { path: path.clone(), source })?;
    Ok(replace_file(&path, &bytes)?)
}

fn one_more(path: &Path, night: Night) -> Result<Stops, TallyError> {
    let invalid = |source| TallyError::Shape { path: path.to_owned(), source };
    let last = read_if_exists(path, MAX_BYTES)?;
    let last: Option<Stops> =
        last.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(invalid)?;
    let stops = match last {
        // Only a later date starts at 1 again; otherwise alternating nights, or extra nights, would never reach the limit.
        Some(last) if night.date <= last.night.date => Stops { count: last.count.saturating_add(1), ..last },
        _ => Stops { night, count: 1 },
    };
    if stops.count > MAX_STOPS {
        return Err(TallyError::TooMany {
            count: stops.count - 1,
            night: stops.night,
            path: path.to_owned(),
        });
    }
    Ok(stops)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn night(text: &str) -> Night {
        text.parse().unwrap()
    }

    #[test]
    fn the_stops_of_a_night_are_limited_and_the_next_night_has_its_own() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..MAX_STOPS {
            count(directory.path(), night("2026-11-22")).unwrap();
        }
        for again in ["2026-11-22", "2026-11-21", "2026-11-22.1"] {
            let error = count(directory.path(), night(again)).unwrap_err().to_string();
            assert!(error.contains("8 times for cold copies in night 2026-11-22"), "{error}");
        }
        count(directory.path(), night("2026-11-23")).unwrap();
    }

    #[test]
    fn an_invalid_tally_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "{}").unwrap();
        assert!(matches!(count(directory.path(), night("2026-11-22")), Err(TallyError::Shape { .. })));
    }
}
