//! What is needed of a config before it is checked, also of an invalid one: the path of the control socket, for `nightshift reload`,
//! the state directory, and a host as which it can be loaded.

use std::path::{Path, PathBuf};

use nightshift_core::ranges;
use nightshift_core::settings::CONTROL_SOCKET;
use toml::Table;
use toml::de::DeTable;

use crate::defaults;
use crate::sources::Source;

/// The control socket's path: from the last source that sets `[paths] run`, else the default. Invalid sources are
/// ignored.
pub fn socket(sources: &[Source]) -> PathBuf {
    let run = sources.iter().rev().find_map(|source| {
        let table: Table = source.text.parse().ok()?;
        table.get("paths")?.get("run")?.as_str().map(PathBuf::from)
    });
    run.unwrap_or_else(|| Path::new(defaults::RUN).to_owned()).join(CONTROL_SOCKET)
}

/// The state directory: from the last source that sets `[paths] state`, else the default. A source that is not valid TOML counts as far
/// as it can be read.
pub fn state(sources: &[Source]) -> PathBuf {
    let state = sources.iter().rev().find_map(|source| {
        let (table, _invalid) = DeTable::parse_recoverable(&source.text);
        let paths = table.get_ref().get("paths")?.get_ref().as_table()?;
        paths.get("state")?.get_ref().as_str().map(PathBuf::from)
    });
    state.filter(|path| path.is_absolute()).unwrap_or_else(|| Path::new(defaults::STATE).to_owned())
}

/// The first host of `[hosts] masters`: as whom another machine can load the cluster's config. The last source that sets it counts.
pub fn first_master(sources: &[Source]) -> Option<String> {
    let pattern = sources.iter().rev().find_map(|source| {
        let table: Table = source.text.parse().ok()?;
        table.get("hosts")?.get("masters")?.as_array()?.first()?.as_str().map(str::to_owned)
    })?;
    ranges::expand(&pattern).ok()?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "test.toml".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_socket_is_found_in_a_config_that_is_otherwise_invalid() {
        let main = source("version = 99\n[paths]\nrun = \"/run/elsewhere\"\n");
        assert_eq!(socket(&[main, source("not = = toml")]), Path::new("/run/elsewhere/control.sock"));
        let broken = source("[paths]\nstate = \"/srv/state\"\n\n[night]\nxx\n");
        assert_eq!(state(&[broken]), Path::new("/srv/state"));
        assert_eq!(state(&[source("[paths\nstate = ")]), Path::new("/var/lib/nightshift"));
        let hosts = source("[hosts]\nmasters = [\"m[1:3].example.com\"]\n");
        assert_eq!(first_master(&[hosts]).as_deref(), Some("m1.example.com"));
        assert_eq!(socket(&[source("[paths]\nrun = 7\n")]), Path::new("/run/nightshift/control.sock"));
    }
}
