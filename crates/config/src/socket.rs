//! Where the daemon listens, by a config that may be wrong everywhere else: whoever asks it to take the config has
//! to reach it first.

use std::path::{Path, PathBuf};

use nightshift_core::settings::CONTROL_SOCKET;
use toml::Table;

use crate::Source;
use crate::defaults;

/// The control socket's path. What cannot be read says nothing.
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
    fn the_socket_is_found_in_a_config_that_is_wrong_elsewhere() {
        let main = source("version = 99\n[paths]\nrun = \"/run/elsewhere\"\n");
        assert_eq!(socket(&[main, source("not = = toml")]), Path::new("/run/elsewhere/control.sock"));
        assert_eq!(socket(&[source("[paths]\nrun = 7\n")]), Path::new("/run/nightshift/control.sock"));
    }
}
