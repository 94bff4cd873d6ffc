//! Whether archives that were verified on a remote are still there.

use nightshift_core::archive::ArchiveName;
use nightshift_core::settings::{Remote, Settings};

use crate::credentials::{Credentials, ReachError, remote_endpoint};
use crate::deliver::DeliverError;

/// Those of the archives that the remote does not have any more.
pub async fn lost(
    settings: &Settings,
    remote: &Remote,
    archives: Vec<ArchiveName>,
) -> Result<Vec<ArchiveName>, DeliverError> {
    if archives.is_empty() {
        return Ok(archives);
    }
    let credentials = Credentials::of_remote(settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&remote_endpoint(remote)).await?;
    let mut lost = Vec::new();
    for archive in archives {
        match sftp.size(&remote.file(&archive.to_string())).await {
            Err(error) if error.is_gone() => lost.push(archive),
            Err(error) if error.is_connection() => return Err(ReachError::from(error).into()),
            // Some logins may not see the files that they wrote.
            Ok(_) | Err(_) => {}
        }
    }
    session.close().await;
    Ok(lost)
}
