//! The path of the control socket, also from an invalid config: `nightshift reload` needs the socket before the config
//! is checked.

use std::path::{Path, PathBuf};

use nightshift_core::settings::CONTROL_SOCKET;
use toml::Table;

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
        assert_eq!(socket(&[source("[paths]\nrun = 7\n")]), Path::new("/run/nightshift/control.sock"));
    }
}
