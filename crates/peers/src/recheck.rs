//! Verifies a file again that a remote was found to have.

use nightshift_core::digest::Digest;
use nightshift_core::settings::{Remote, Settings};

use crate::credentials::{Credentials, remote_endpoint};
use crate::deliver::{DeliverError, verify};

/// How it was verified; `None` if it is gone. Other content is an error.
pub async fn recheck(
    settings: &Settings,
    remote: &Remote,
    name: &str,
    expected: Digest,
) -> Result<Option<String>, DeliverError> {
    let credentials = Credentials::of_remote(settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&remote_endpoint(remote)).await?;
    let path = remote.file(name);
    let verified = match sftp.size(&path).await {
        Err(error) if error.is_gone() => None,
        Err(error) => return Err(error.into()),
        Ok(_) => Some(verify(&session, &sftp, &path, expected).await?),
    };
    session.close().await;
    Ok(verified)
}
