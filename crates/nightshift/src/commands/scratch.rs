//! Where a command that an operator runs writes temporary files.

use std::path::PathBuf;

/// /var/tmp, because /tmp is in memory on many hosts.
pub fn default_scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}
