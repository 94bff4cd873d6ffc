//! Reads the config from disk: the file and its drop-ins.

use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::tz::TimeZone;
use nightshift_config::{Context, Loaded, Source};
use nightshift_core::settings::Settings;
use nightshift_store::open_regular;

use crate::commands::CommandError;
use crate::out;

/// Of one file, in bytes: far more than an inventory of 2,000 hosts has.
const MAX_LEN: u64 = 16 << 20;

pub fn load(path: &Path) -> Result<Loaded, CommandError> {
    let sources = sources(path)?;
    let context = Context {
        hostname: nightshift_engine::machine::hostname(),
        system_zone: TimeZone::system(),
        zone_lookup: &|name| TimeZone::get(name).ok(),
        config_dir: dir_of(path).to_owned(),
    };
    nightshift_config::load(&sources, &context)
        .map_err(|diagnostics| CommandError::Config(diagnostics.to_string()))
}

/// The file and its drop-ins, in the order in which they are merged.
pub fn sources(path: &Path) -> Result<Vec<Source>, CommandError> {
    let mut sources = vec![read(path)?];
    for drop_in in drop_ins(&dir_of(path).join("conf.d"))? {
        sources.push(read(&drop_in)?);
    }
    Ok(sources)
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Only the settings; warnings are printed.
pub fn settings(path: &Path) -> Result<Settings, CommandError> {
    let loaded = load(path)?;
    for warning in &loaded.warnings {
        out::print_error_text(&warning.to_string());
    }
    Ok(loaded.settings)
}

fn read(path: &Path) -> Result<Source, CommandError> {
    let bytes = open_regular(path).and_then(|file| nightshift_core::read_bounded(file, MAX_LEN));
    let text =
        bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8")));
    match text {
        Ok(text) => Ok(Source { name: path.display().to_string(), text }),
        Err(source) => {
            Err(CommandError::ReadConfig { path: path.to_owned(), source: explained(path, source) })
        }
    }
}

/// For a link to a file that does not exist, the error names the link's target.
fn explained(path: &Path, error: io::Error) -> io::Error {
    match fs::read_link(path) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            format!("it is a link to {}, which does not exist", target.display()),
        ),
        _ => error,
    }
}

/// The drop-ins in the order of their names. As systemd does, skips hidden files: editors keep their locks there.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let failed = |source| CommandError::ReadConfig { path: directory.to_owned(), source };
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
