//! The files of metrics: the status report that the metrics' unit reads, and the text for node_exporter.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nightshift_core::metrics::{families, render};
use nightshift_core::settings::Settings;
use nightshift_core::status::Report;
use nightshift_store::{
    IoContext as _, StoreError, create_directories, open_regular, read_json, remove_file,
    replace_public_file, write_json,
};
use rustix::fs::{Access, access};

/// A report without its night: 2,000 hosts make half a MiB.
const MAX_LEN: u64 = 16 << 20;
const REPORT: &str = "status.json";
/// Remembers the paths of textfiles, as JSON.
const TEXTFILES: &str = "textfiles.json";
const MAX_PATH_LEN: u64 = 64 << 10;
/// How each text of these metrics begins.
const OURS: &str = "# HELP nightshift_";

/// The metrics as text.
pub fn text(report: &Report, now: Timestamp) -> io::Result<String> {
    render(families(report, env!("CARGO_PKG_VERSION"), now)).map_err(io::Error::other)
}

/// Writes the report for the metrics' unit, then the textfile if one is configured. One that is not configured any more is removed: its
/// metrics would stay for ever.
pub fn write(settings: &Settings, report: Report) -> Result<(), StoreError> {
    let (report, directory) = (report.without_night(), directory(&settings.paths.state));
    create_directories(&directory)?;
    // The report is open to every user: systemd shows it to the unit's user, who cannot enter the directory. Neither can a peer.
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&directory, closed).on("chmod", &directory)?;
    write_report(&directory, &report)?;
    let textfile = settings.metrics.textfile.as_deref();
    let written = textfiles(&directory);
    let mut kept: Vec<PathBuf> = textfile.map(Path::to_owned).into_iter().collect();
    let mut removed = Ok(());
    for old in written.iter().filter(|old| Some(old.as_path()) != textfile) {
        if let Err(error) = remove_ours(old) {
            kept.push(old.clone());
            removed = Err(error);
        }
    }
    if kept != written {
        write_json(&directory.join(TEXTFILES), &kept)?;
    }
    textfile.map_or(Ok(()), |textfile| write_textfile(textfile, &report)).and(removed)
}

/// The textfiles that were written and not removed yet. What cannot be read is written again.
fn textfiles(directory: &Path) -> Vec<PathBuf> {
    read_json(&directory.join(TEXTFILES), MAX_PATH_LEN).ok().flatten().unwrap_or_default()
}

/// Where the files of metrics are in a state directory.
fn directory(state: &Path) -> PathBuf {
    state.join("metrics")
}

fn write_report(directory: &Path, report: &Report) -> Result<(), StoreError> {
    let path = directory.join(REPORT);
    let bytes = serde_json::to_vec(report).map_err(io::Error::from).on("write", &path)?;
    replace_public_file(&path, &bytes)
}

fn write_textfile(textfile: &Path, report: &Report) -> Result<(), StoreError> {
    let text = text(report, Timestamp::now()).on("write", textfile)?;
    replace_public_file(textfile, text.as_bytes())
}

/// Removes a textfile, if it is one that nightshift wrote and still there.
fn remove_ours(path: &Path) -> Result<(), StoreError> {
    let start = open_regular(path).and_then(|file| {
        let mut start = Vec::new();
        file.take(OURS.len() as u64).read_to_end(&mut start).map(|_| start)
    });
    match start {
        Ok(start) if start == OURS.as_bytes() => remove_file(path),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).on("read", path),
    }
}

/// Why this process cannot replace the textfile, and what to do about it.
pub fn obstacle(settings: &Settings) -> Option<String> {
    let textfile = settings.metrics.textfile.as_deref()?;
    let (shown, directory) = (textfile.display(), textfile.parent()?);
    if !directory.is_dir() {
        return Some(format!(
            "{shown}: its directory does not exist, so node_exporter gets no metrics; install node_exporter, or correct [metrics] textfile"
        ));
    }
    let denied = access(directory, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(format!(
        "{shown}: the daemon cannot write to its directory ({}), so node_exporter gets no metrics; let the user nightshift write there, and add `ReadWritePaths={}` to nightshift.service by a drop-in",
        io::Error::from(denied),
        directory.display()
    ))
}

/// The report that was written last; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<Report>, StoreError> {
    read_json(path, MAX_LEN)
}

/// Writes both again without a daemon: it has ended. It needs no config, because an invalid one may be why.
pub fn write_stopped(state: &Path) -> Result<(), StoreError> {
    let directory = directory(state);
    let Some(report) = read(&directory.join(REPORT))? else { return Ok(()) };
    let report = Report { daemon: None, ..report };
    write_report(&directory, &report)?;
    textfiles(&directory).iter().map(|textfile| write_textfile(textfile, &report)).fold(Ok(()), Result::and)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::fixtures;
    use nightshift_core::role::Role;

    use super::*;
    use crate::testing::{host, settings};

    #[test]
    fn a_textfile_that_is_not_configured_any_more_is_removed_and_only_if_nightshift_wrote_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path(), vec![host("m1", Role::Node)]);
        let [one, two] = ["one.prom", "two.prom"].map(|name| dir.path().join(name));
        let mut write_to = |textfile: Option<&Path>| {
            settings.metrics.textfile = textfile.map(Path::to_owned);
            write(&settings, fixtures::report(Timestamp::now())).unwrap();
            (one.exists(), two.exists())
        };
        assert_eq!(write_to(Some(&one)), (true, false));
        assert_eq!(write_to(Some(&two)), (false, true));
        fs::write(&two, "of another program\n").unwrap();
        assert_eq!(write_to(None), (false, true));
        assert_eq!(write_to(Some(&one)), (true, true));
        write_stopped(&dir.path().join("state")).unwrap();
        assert!(fs::read_to_string(&one).unwrap().contains("\nnightshift_daemon_up 0\n"));
        assert_eq!(fs::read_to_string(&two).unwrap(), "of another program\n");
    }

    #[test]
    fn a_textfile_that_cannot_be_removed_is_removed_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path(), vec![host("m1", Role::Node)]);
        let [textfile, away] = ["nightshift.prom", "away"].map(|name| dir.path().join(name));
        settings.metrics.textfile = Some(textfile.clone());
        let report = || fixtures::report(Timestamp::now());
        write(&settings, report()).unwrap();
        // What is not a file cannot be read.
        fs::rename(&textfile, &away).unwrap();
        fs::create_dir(&textfile).unwrap();
        settings.metrics.textfile = None;
        write(&settings, report()).unwrap_err();
        fs::remove_dir(&textfile).unwrap();
        fs::rename(&away, &textfile).unwrap();
        write(&settings, report()).unwrap();
        assert!(!textfile.exists());
    }
}
