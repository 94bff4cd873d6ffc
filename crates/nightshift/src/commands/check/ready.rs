//! What a restore needs beside the archives: their key, and an etcdutl that can raise the revision.

use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::units::local_time;
use nightshift_etcd::restorer;
use nightshift_store::opened::Opened;

use super::line::print_result;
use crate::{out, report};

/// Only masters ship archives. False if what is configured cannot be used.
pub async fn run(settings: &Settings) -> bool {
    if !settings.roles().has(Role::Master) {
        return true;
    }
    if !settings.archive.recipients.is_empty() {
        key(settings);
    }
    if settings.inventory.with_role(Role::Etcd).next().is_none() {
        return true;
    }
    match restorer::find(settings).await {
        Ok(etcdutl) => print_result("restore-tools", Ok(format!("etcdutl {}", etcdutl.version))),
        Err(reason) if settings.etcd.restore_tools.is_some() => print_result("restore-tools", Err(reason)),
        Err(reason) => {
            out::print_error(&format!("warning: {reason}"));
            true
        }
    }
}

/// When an archive was last opened with its real key.
fn key(settings: &Settings) {
    const REMEDY: &str =
        "fetch one from a remote, and run `nightshift verify ARCHIVE --identity KEY` on this host";
    let warn = |what: String| out::print_error(&format!("warning: {what}; {REMEDY}"));
    match Opened::read(&settings.paths.opened()) {
        Ok(Some(Opened { at, archive, recipient })) => {
            let at = local_time(at, &settings.window.zone);
            let opened = format!("{archive} was opened with its real key ({recipient}) at {at}");
            if settings.archive.recipients.contains(&recipient) {
                out::print(format!("archives: {opened}: OK"));
            } else {
                warn(format!("{opened}, which is not a recipient any more"));
            }
        }
        Ok(None) => warn("no archive was ever opened with its real key".to_owned()),
        Err(error) => warn(format!(
            "cannot read when an archive was last opened with its real key: {}",
            report::in_full(&error)
        )),
    }
}
