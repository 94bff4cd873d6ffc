//! The name that a file gets on a remote: its own, or the next one that no other content has.

use nightshift_core::digest::Digest;
use nightshift_ssh::{Session, Sftp, SftpError};

use super::{Content, Deliver, DeliverError};

/// What a remote has under a name.
enum Found {
    Nothing,
    /// An earlier attempt renamed it and lost the connection before the response. It was verified again.
    Ours(String),
    /// It stays as it is: it may be of a night before this host was lost and made again.
    Other,
}

impl Deliver<'_> {
    /// The first name that is free, or has this content already; then with how that was verified.
    pub(super) async fn free_name(
        &self,
        session: &Session,
        sftp: &Sftp,
        content: Content,
    ) -> Result<(String, Option<String>), DeliverError> {
        for name in &self.names {
            match self.find(session, sftp, name, content).await? {
                Found::Nothing => return Ok((name.clone(), None)),
                Found::Ours(verified) => return Ok((name.clone(), Some(verified))),
                Found::Other => tracing::debug!("{}: {name} has other content", self.remote.name),
            }
        }
        let at = |name: Option<&String>| self.there(name.unwrap_or(&self.file));
        Err(DeliverError::AllOccupied { first: at(self.names.first()), last: at(self.names.last()) })
    }

    async fn find(
        &self,
        session: &Session,
        sftp: &Sftp,
        name: &str,
        content: Content,
    ) -> Result<Found, DeliverError> {
        let target = self.there(name);
        let exists = match sftp.size(&target).await {
            Ok(size) if size != content.bytes => return Ok(Found::Other),
            Ok(_) => true,
            Err(error) if error.is_gone() => false,
            Err(error) => return Err(error.into()),
        };
        // Also cheaper than to hash the file, if that is another one.
        if self.has_other_sidecar(sftp, name, content.sha256).await? {
            return Ok(Found::Other);
        }
        if !exists {
            return Ok(Found::Nothing);
        }
        match self.verify(session, sftp, &target, content.sha256).await {
            Ok(verified) => Ok(Found::Ours(verified)),
            Err(DeliverError::Content { .. }) => Ok(Found::Other),
            Err(error) => Err(error),
        }
    }

    async fn has_other_sidecar(&self, sftp: &Sftp, name: &str, sha256: Digest) -> Result<bool, DeliverError> {
        for (extension, content) in self.sidecars(name, sha256).await? {
            let path = format!("{}.{extension}", self.there(name));
            match sftp.read_small(&path, content.len()).await {
                Ok(there) if there != content => return Ok(true),
                Ok(_) => {}
                Err(SftpError::TooBig { .. }) => return Ok(true),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}
