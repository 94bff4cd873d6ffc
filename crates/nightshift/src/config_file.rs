//! Reads the config from disk: the file and its drop-ins.

use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::tz::TimeZone;
use nightshift_config::{Context, Diagnostics, Loaded, Source};
use nightshift_core::hook::Hook;
use nightshift_core::name::{HookName, HostName, TargetName};
use nightshift_core::notify::Target;
use nightshift_core::settings::Settings;
use nightshift_store::open_regular;

use crate::args::DEFAULT_CONFIG;
use crate::commands::CommandError;
use crate::out;

/// Of one file, in bytes: far more than an inventory of 2,000 hosts has.
const MAX_LEN: u64 = 16 << 20;

pub fn load(path: &Path) -> Result<Loaded, CommandError> {
    load_as(path, nightshift_engine::machine::hostname(), dir_of(path))
}

/// The config of another host, of which this is a copy. `config_dir` is the directory on that host.
pub fn load_as(path: &Path, hostname: String, config_dir: &Path) -> Result<Loaded, CommandError> {
    load_sources(&sources(path)?, hostname, config_dir)
}

/// The config of the cluster, on one of its hosts or on the operator's machine, which loads it as the first master.
pub fn of_cluster(path: &Path) -> Result<Settings, CommandError> {
    match load(path) {
        Err(refused @ CommandError::Config(_)) => match nightshift_config::first_master(&sources(path)?) {
            Some(master) => Ok(load_as(path, master, dir_of(path))?.settings),
            None => Err(refused),
        },
        loaded => Ok(loaded?.settings),
    }
}

/// A config that is not written yet. Diagnostics name it as `name`.
pub fn load_text(name: &str, text: &str, hostname: String) -> Result<Loaded, CommandError> {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    load_sources(&[source], hostname, dir_of(Path::new(DEFAULT_CONFIG)))
}

fn load_sources(sources: &[Source], hostname: String, config_dir: &Path) -> Result<Loaded, CommandError> {
    nightshift_config::load(sources, &context(hostname, config_dir))
        .map_err(|diagnostics| CommandError::Config(diagnostics.to_string()))
}

fn context(hostname: String, config_dir: &Path) -> Context<'static> {
    Context {
        hostname,
        system_zone: TimeZone::system(),
        zone_lookup: &|name| TimeZone::get(name).ok(),
        config_dir: config_dir.to_owned(),
    }
}

/// A target of notifications. Only its own table has to be valid.
pub fn target(path: &Path, name: &TargetName) -> Result<Target, CommandError> {
    let alone = nightshift_config::target(&sources(path)?, name);
    one(path, alone, |settings| settings.notify, |target| target.name == *name)?
        .ok_or_else(|| CommandError::Absent(format!("the config has no target {name}; {RELOAD}")))
}

/// A hook, and the name of this host. Only the hook's own table has to be valid.
pub fn hook(path: &Path, name: &HookName) -> Result<(Hook, HostName), CommandError> {
    let sources = sources(path)?;
    let alone = nightshift_config::hook(&sources, name);
    let hook = one(path, alone, |settings| settings.hooks, |hook| hook.name == *name)?
        .ok_or_else(|| CommandError::Absent(format!("the config has no hook {name}; {RELOAD}")))?;
    let hostname = nightshift_engine::machine::hostname();
    let this = nightshift_config::this_host(&sources, &context(hostname.clone(), dir_of(path)));
    let this = this.or_else(|| hostname.parse().ok());
    this.map(|this| (hook, this)).ok_or_else(|| {
        CommandError::Absent("the config does not say which host this is; run `nightshift check`".to_owned())
    })
}

/// If it was renamed, the daemon has the old name.
const RELOAD: &str = "run `systemctl reload nightshift`";

/// One entry of a list: from its own table, or, where the list is written in one line, from the whole config.
fn one<T>(
    path: &Path,
    alone: Result<Option<T>, Diagnostics>,
    list: impl Fn(Settings) -> Vec<T>,
    is_it: impl Fn(&T) -> bool,
) -> Result<Option<T>, CommandError> {
    match alone {
        Err(errors) => Err(CommandError::Absent(errors.brief())),
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) => Ok(load(path).ok().and_then(|loaded| list(loaded.settings).into_iter().find(is_it))),
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn names(path: &Path) -> Result<Vec<String>, CommandError> {
        let name =
            |source: Source| Path::new(&source.name).file_name().unwrap().to_string_lossy().into_owned();
        Ok(sources(path)?.into_iter().map(name).collect())
    }

    #[test]
    fn drop_ins_are_the_visible_toml_files_and_one_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (main, drop_ins) = (dir.path().join("nightshift.toml"), dir.path().join("conf.d"));
        fs::write(&main, "").unwrap();
        assert_eq!(names(&main).unwrap(), ["nightshift.toml"], "without conf.d");
        fs::create_dir(&drop_ins).unwrap();
        for name in ["50-b.toml", "40-a.toml", "README", "40-a.toml.dpkg-old"] {
            fs::write(drop_ins.join(name), "").unwrap();
        }
        // The lock of an editor, a link to nowhere.
        symlink("user@host.1234", drop_ins.join(".#50-b.toml")).unwrap();
        assert_eq!(names(&main).unwrap(), ["nightshift.toml", "40-a.toml", "50-b.toml"]);

        let odd = drop_ins.join("60-c.toml");
        symlink("/not/there.toml", &odd).unwrap();
        let error = nightshift_core::chain(&names(&main).unwrap_err());
        assert!(error.contains("60-c.toml") && error.contains("link to /not/there.toml"), "{error}");
        fs::remove_file(&odd).unwrap();
        mknodat(CWD, &odd, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let error = nightshift_core::chain(&names(&main).unwrap_err());
        assert!(error.contains("60-c.toml"), "a pipe is refused, not waited for: {error}");
    }
}
