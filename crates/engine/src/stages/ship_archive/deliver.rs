//! One archive to one remote: uploaded as a part with resume, synced, verified there, then renamed.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::Digest;
use nightshift_core::range_set::RangeSet;
use nightshift_core::settings::Remote;
use nightshift_ssh::session::exec::quote;
use nightshift_ssh::{ExecError, Session, Sftp, SftpError, Upload, UploadError, upload};

use crate::context::StageContext;
use crate::hash_sink::HashSink;
use nightshift_peers as peers;
use nightshift_peers::{Credentials, CredentialsError, ReachError};
use nightshift_store::offload;
use nightshift_store::outbox::{Delivery, Outbox};
use nightshift_store::{IoContext as _, StoreError};

/// Archives hold every secret of the cluster.
const MODE: u32 = 0o600;
/// The longest that a remote may take to hash an archive.
const HASHING: Duration = Duration::from_secs(3600);

#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what is there under {path} has SHA-256 {found}, not {expected}")]
    Content { path: String, found: Digest, expected: Digest },
    #[error("{path} is there already with another content, and nothing there is ever replaced")]
    Occupied { path: String },
    #[error("what is there cannot be hashed")]
    Hash(#[source] std::io::Error),
    #[error("{path} needs {need} bytes, and {free} are free there")]
    Full { path: String, need: u64, free: u64 },
}

impl From<SftpError> for DeliverError {
    fn from(error: SftpError) -> Self {
        Self::Reach(error.into())
    }
}

pub enum Delivered {
    /// In an earlier night, or an earlier try.
    Already,
    Now {
        bytes: u64,
        sha256: Digest,
        verified: String,
    },
}

pub struct Deliver<'a> {
    pub ctx: &'a StageContext,
    pub remote: &'a Remote,
    pub outbox: &'a Outbox,
    pub archive: &'a ArchiveName,
}

impl Deliver<'_> {
    pub async fn run(self) -> Result<Delivered, DeliverError> {
        let (outbox, archive, name) = (self.outbox.clone(), self.archive.clone(), self.remote.name.clone());
        let (sha256, known, bytes) = offload::run(move || {
            let path = outbox.path(&archive);
            let bytes = std::fs::metadata(&path).on("stat", &path)?.len();
            Ok::<_, StoreError>((outbox.sha256(&archive)?, outbox.delivery(&archive, &name), bytes))
        })
        .await?;
        let known = known.filter(|known| known.sha256 == sha256);
        if known.as_ref().is_some_and(|known| known.verified.is_some()) {
            return Ok(Delivered::Already);
        }
        let credentials = Credentials::of_remote(&self.ctx.settings, self.remote).await?;
        let endpoint = peers::remote_endpoint(self.remote);
        let (session, sftp) = credentials.open_sftp(&endpoint).await?;
        sftp.create_dir_all(&self.remote.path, 0o700).await?;

        let target = self.there(&self.archive.to_string());
        let verified = match sftp.lstat(&target).await {
            // A rename whose answer was lost: it is there, and need only be shown to be ours.
            Ok(_) => self.verify(&session, &sftp, &target, sha256).await.map_err(|error| match error {
                DeliverError::Content { path, .. } => DeliverError::Occupied { path },
                other => other,
            })?,
            Err(error) if error.is_gone() => {
                let done = known.map(|known| known.done).unwrap_or_default();
                self.upload(&credentials, (&session, &sftp), &target, (bytes, sha256), done).await?
            }
            Err(error) => return Err(error.into()),
        };
        self.write_beside(&sftp, &target, sha256).await?;
        self.keep(sha256, RangeSet::new(), Some(verified.clone())).await?;
        session.close().await;
        Ok(Delivered::Now { bytes, sha256, verified })
    }

    fn there(&self, name: &str) -> String {
        format!("{}/{name}", self.remote.path.trim_end_matches('/'))
    }

    /// Uploads over several connections, verifies the part, and only then gives it its name.
    async fn upload(
        &self,
        credentials: &Credentials,
        (session, sftp): (&Session, &Sftp),
        target: &str,
        (bytes, sha256): (u64, Digest),
        done: RangeSet,
    ) -> Result<String, DeliverError> {
        let need = bytes.saturating_sub(done.bytes());
        if let Some(space) = sftp.space(&self.remote.path).await?
            && space.free_bytes < need
        {
            return Err(DeliverError::Full { path: self.remote.path.clone(), need, free: space.free_bytes });
        }
        let endpoint = peers::remote_endpoint(self.remote);
        let wanted =
            self.connections_for(need).min(upload::useful_connections(sftp, &self.remote.path).await);
        // Side by side: one after the other they would cost as many round trips as they save.
        let opening: Vec<_> = (1..wanted).map(|_| credentials.open_sftp(&endpoint).boxed()).collect();
        let mut connections = Vec::new();
        for opened in join_all(opening).await {
            match opened {
                Ok(open) => connections.push(open),
                Err(error) => tracing::debug!("one connection less to {}: {error}", self.remote.name),
            }
        }
        let lanes: Vec<Sftp> =
            std::iter::once(sftp.clone()).chain(connections.iter().map(|(_, sftp)| sftp.clone())).collect();
        let local = self.outbox.path(self.archive);
        let short = &sha256.to_string()[..16];
        let part = self.there(&format!(".{}.{}.{short}.part", self.archive, self.ctx.settings.this));
        let upload = Upload { local: &local, remote_part: &part, mode: MODE, done };
        let uploaded = upload
            .run(&lanes, |ranges| {
                // No future can be waited for here, and the order of these must not change.
                let kept = tokio::task::block_in_place(|| {
                    let delivery = Delivery { sha256, done: ranges.clone(), verified: None };
                    self.outbox.keep_delivery(self.archive, &self.remote.name, &delivery)
                });
                if let Err(error) = kept {
                    tracing::warn!("the progress of an upload cannot be kept: {error}");
                }
            })
            .await?;
        for (session, _) in connections {
            session.close().await;
        }
        let verified = match self.verify(session, sftp, &part, sha256).await {
            Ok(verified) => verified,
            Err(error @ DeliverError::Content { .. }) => {
                // Nothing of it is to be built on: the next try sends it whole.
                self.keep(sha256, RangeSet::new(), None).await?;
                sftp.remove(&part).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        sftp.posix_rename(&part, target).await?;
        if uploaded.synced {
            // The name is to survive a power cut too. Not every server opens a folder for that.
            if let Err(error) = sftp.fsync(&self.remote.path).await {
                tracing::debug!("{}: {error}", self.remote.name);
            }
        }
        Ok(verified)
    }

    /// More connections get past the server's 2 MiB window; for what fits into one they are no use.
    fn connections_for(&self, bytes: u64) -> usize {
        const WORTH_A_CONNECTION: u64 = 8 << 20;
        let useful = usize::try_from(bytes / WORTH_A_CONNECTION).unwrap_or(usize::MAX);
        useful.clamp(1, self.remote.connections.max(1))
    }

    /// Hashes what is there: by the remote itself where it runs commands, else by reading it back.
    async fn verify(
        &self,
        session: &Session,
        sftp: &Sftp,
        path: &str,
        expected: Digest,
    ) -> Result<String, DeliverError> {
        let (found, how) = match hash_by_command(session, path).await {
            Some(found) => (found, "sha256sum there"),
            None => (hash_by_reading(sftp, path).await?, "read back"),
        };
        if found == expected {
            Ok(format!("SHA-256 verified ({how})"))
        } else {
            Err(DeliverError::Content { path: path.to_owned(), found, expected })
        }
    }

    async fn write_beside(&self, sftp: &Sftp, target: &str, sha256: Digest) -> Result<(), DeliverError> {
        let checksum = format!("{sha256}  {}\n", self.archive).into_bytes();
        let (outbox, archive) = (self.outbox.clone(), self.archive.clone());
        let signature = offload::run(move || outbox.signature(&archive)).await?;
        let files = [("sha256", Some(checksum)), ("sig", signature)];
        for (extension, content) in files {
            let Some(content) = content else { continue };
            let path = format!("{target}.{extension}");
            match sftp.read_small(&path, content.len()).await {
                Ok(there) if there == content => continue,
                Ok(_) => return Err(DeliverError::Occupied { path }),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error.into()),
            }
            let part = format!("{path}.part");
            sftp.write_file(&part, &content, MODE).await?;
            sftp.posix_rename(&part, &path).await?;
        }
        Ok(())
    }

    async fn keep(&self, sha256: Digest, done: RangeSet, verified: Option<String>) -> Result<(), StoreError> {
        let (outbox, archive, name) = (self.outbox.clone(), self.archive.clone(), self.remote.name.clone());
        let delivery = Delivery { sha256, done, verified };
        offload::run(move || outbox.keep_delivery(&archive, &name, &delivery)).await
    }
}

/// `None` where the remote runs no commands, or not this one.
async fn hash_by_command(session: &Session, path: &str) -> Option<Digest> {
    let command = format!("sha256sum -b -- {}", quote(path));
    match session.exec(&command, 64 << 10, HASHING).await {
        Ok(output) if output.status == Some(0) => {
            let text = String::from_utf8_lossy(&output.stdout);
            // A name with odd characters is announced by a backslash before the hash.
            text.trim_start_matches('\\').split_whitespace().next()?.parse().ok()
        }
        Ok(output) => {
            tracing::debug!("sha256sum ended with {:?}", output.status);
            None
        }
        Err(ExecError::Forbidden { .. }) => None,
        Err(error) => {
            tracing::debug!("sha256sum cannot be run there: {error}");
            None
        }
    }
}

async fn hash_by_reading(sftp: &Sftp, path: &str) -> Result<Digest, DeliverError> {
    let size = sftp.lstat(path).await?.size;
    let mut sink = HashSink::new();
    sftp.download(path, 0..size, &mut sink).await?;
    sink.finish().await.map_err(DeliverError::Hash)
}
