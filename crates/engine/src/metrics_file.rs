//! The files of metrics: the status report that the metrics' unit reads, and the text for node_exporter.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use nightshift_core::metrics::{families, render};
use nightshift_core::settings::Settings;
use nightshift_core::status::Report;
use nightshift_store::{IoContext as _, StoreError, create_directories, read_json, replace_public_file};
use rustix::fs::{Access, access};

/// A report without its night: 2,000 hosts make half a MiB.
const MAX_LEN: u64 = 16 << 20;

/// The metrics as text.
pub fn text(report: &Report, now: Timestamp) -> io::Result<String> {
    render(families(report, env!("CARGO_PKG_VERSION"), now)).map_err(io::Error::other)
}

/// Writes the report for the metrics' unit, then the textfile if one is configured.
pub fn write(settings: &Settings, report: Report) -> Result<(), StoreError> {
    let report = report.without_night();
    let path = settings.paths.status_report();
    if let Some(directory) = path.parent() {
        create_directories(directory)?;
        // The file is open to every user: systemd shows it to the unit's user, who cannot enter the directory. Neither can a peer.
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(directory, closed).on("chmod", directory)?;
    }
    let bytes = serde_json::to_vec(&report).map_err(io::Error::from).on("write", &path)?;
    replace_public_file(&path, &bytes)?;
    match &settings.metrics.textfile {
        Some(textfile) => {
            let text = text(&report, Timestamp::now()).on("write", textfile)?;
            replace_public_file(textfile, text.as_bytes())
        }
        None => Ok(()),
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

/// Writes both again without a daemon: it has ended.
pub fn write_stopped(settings: &Settings) -> Result<(), StoreError> {
    match read(&settings.paths.status_report())? {
        Some(report) => write(settings, Report { daemon: None, ..report }),
        None => Ok(()),
    }
}
