//! An archive was opened with its real key, on this host, by an operator. The command cannot remember it itself: the state directory
//! is the daemon's.

use jiff::Timestamp;
use nightshift_core::archive::ArchiveName;
use nightshift_core::chain;
use nightshift_core::settings::Settings;
use nightshift_store::opened::Opened;

use crate::control::ControlResponse;

/// Blocks.
pub(super) fn remember(settings: &Settings, archive: String, recipient: String) -> ControlResponse {
    if archive.parse::<ArchiveName>().is_err() || !settings.archive.recipients.contains(&recipient) {
        let message = format!("{archive} was not opened with a key of a recipient in [archive]");
        return ControlResponse::Refused { message };
    }
    let opened = Opened { at: Timestamp::now(), archive, recipient };
    match opened.keep(&settings.paths.opened()) {
        Ok(()) => ControlResponse::Done { message: format!("{} opened with its real key", opened.archive) },
        Err(error) => ControlResponse::Failed { message: chain(&error) },
    }
}
