//! That an archive was opened with its real key, for `check`: the daemon remembers it.

use std::path::Path;

use nightshift_core::settings::Settings;
use nightshift_engine::control::{ControlRequest, ControlResponse, send};

use crate::commands::here::here;
use crate::commands::run::UNEXPECTED;
use crate::commands::{CommandError, archive_file, content};
use crate::out;

/// Only a key of a recipient in the configuration is a real one. The archive was verified before.
pub fn remember(settings: &Settings, archive: &Path, identity: &Path) -> Result<(), CommandError> {
    let name = archive_file::require_name(archive, Some(identity))?;
    if !name.encrypted {
        return Ok(());
    }
    let keys = content::identities(archive, Some(identity))?;
    let real = keys.recipients.into_iter().find(|key| settings.archive.recipients.contains(key));
    let Some(recipient) = real else { return Ok(()) };
    let request = ControlRequest::Opened { archive: name.to_string(), recipient };
    let response = here(async { Ok(send(&settings.paths.socket(), &request).await) })?;
    let reason = match response {
        Ok(ControlResponse::Done { .. }) => return Ok(()),
        Ok(
            ControlResponse::Refused { message }
            | ControlResponse::Failed { message }
            | ControlResponse::Busy { message },
        ) => message,
        Ok(_) => UNEXPECTED.to_owned(),
        Err(error) => error.to_string(),
    };
    out::print_error(&format!(
        "note: the daemon did not record that {name} was opened with its real key: {reason}"
    ));
    Ok(())
}
