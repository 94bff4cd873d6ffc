//! Whether files that were verified on a remote are still there.

use nightshift_core::settings::{Remote, Settings};

use crate::credentials::{Credentials, ReachError, remote_endpoint};
use crate::deliver::DeliverError;

/// Those of the files that the remote does not have any more.
pub async fn lost(
    settings: &Settings,
    remote: &Remote,
    names: Vec<String>,
) -> Result<Vec<String>, DeliverError> {
    if names.is_empty() {
        return Ok(names);
    }
    let credentials = Credentials::of_remote(settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&remote_endpoint(remote)).await?;
    let mut lost = Vec::new();
    for name in names {
        match sftp.size(&remote.file(&name)).await {
            Err(error) if error.is_gone() => lost.push(name),
            Err(error) if error.is_connection() => return Err(ReachError::from(error).into()),
            // Some logins may not see the files that they wrote.
            Ok(_) | Err(_) => {}
        }
    }
    session.close().await;
    Ok(lost)
}
