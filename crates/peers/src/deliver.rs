//! One archive for one remote: uploaded as a part file with resume, synced, verified there, then renamed.

mod small;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use nightshift_core::chain;
use nightshift_core::digest::Digest;
use nightshift_core::range_set::RangeSet;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::units;
use nightshift_ssh::{Session, Sftp, SftpError, Space, Upload, UploadError, upload};
use nightshift_store::outbox::{Delivery, Outbox};
use nightshift_store::{IoContext as _, StoreError, offload};

use crate::credentials::{Credentials, CredentialsError, ReachError, location, remote_endpoint};
use crate::sink::HashedSink;
use small::{MODE, hash_by_command, short, write_new};

#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The next attempt sends again what this one sent since.
    #[error("the upload failed, and its progress could not be stored ({progress})")]
    Progress { progress: String, source: UploadError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{path} on the remote has SHA-256 {found}, expected {expected}")]
    Content { path: String, found: Digest, expected: Digest },
    #[error("{path} already exists on the remote with other content and is not replaced; move it away there")]
    Occupied { path: String },
    #[error(
        "{first} to {last} already exist on the remote with other content and are not replaced; move them away there"
    )]
    AllOccupied { first: String, last: String },
    #[error("cannot hash {path}, read back from the remote")]
    Hash { path: String, source: std::io::Error },
    #[error("{path} on the remote needs {} of space, and has {}", units::bytes(*need), units::bytes(*free))]
    Full { path: String, need: u64, free: u64 },
    #[error("{path} on the remote allows names of {max} bytes, and {name} is longer")]
    LongName { path: String, name: String, max: u64 },
    #[error(
        "{path} does not exist on the remote, where archives were verified before; check that its disk is mounted there, or create the directory again"
    )]
    Lost { path: String },
    #[error(
        "{path} on the remote has {size} bytes after it was verified there with {expected}; check what changes files on the remote"
    )]
    Altered { path: String, size: u64, expected: u64 },
}

impl From<SftpError> for DeliverError {
    fn from(error: SftpError) -> Self {
        Self::Reach(error.into())
    }
}

pub enum Delivered {
    /// In an earlier night or attempt.
    Already,
    Now {
        bytes: u64,
        sha256: Digest,
        /// How it was verified there.
        verified: String,
        /// Its name there, where its own name was taken.
        stored_as: Option<String>,
    },
}

/// What a remote has under a name.
enum Found {
    Nothing,
    /// An earlier attempt renamed it and lost the connection before the response. It was verified again.
    Ours(String),
    /// It stays as it is: it may be of a night before this host was lost and made again.
    Other,
}

/// What is delivered, and where to.
pub struct Deliver<'a> {
    pub settings: &'a Settings,
    pub remote: &'a Remote,
    /// The directory that contains it, with its checksum and signature.
    pub outbox: &'a Outbox,
    /// Its name in that directory.
    pub file: String,
    /// The names that it may have on the remote: it gets the first one that is free, because nothing there is replaced.
    pub names: Vec<String>,
}

/// The content that is delivered.
#[derive(Clone, Copy)]
struct Content {
    bytes: u64,
    sha256: Digest,
}

impl Deliver<'_> {
    /// Brings the file to the remote, unless it was verified there before.
    pub async fn run(self) -> Result<Delivered, DeliverError> {
        let (outbox, file, name) = (self.outbox.clone(), self.file.clone(), self.remote.name.clone());
        let (content, known) = offload::run(move || {
            let path = outbox.path(&file);
            let bytes = std::fs::metadata(&path).on("stat", &path)?.len();
            let content = Content { bytes, sha256: outbox.sha256(&file)? };
            Ok::<_, StoreError>((content, outbox.delivery(&file, &name)))
        })
        .await?;
        let Content { bytes, sha256 } = content;
        let known = known.filter(|known| known.sha256 == sha256);
        if known.as_ref().is_some_and(|known| known.verified.is_some()) {
            return Ok(Delivered::Already);
        }
        let credentials = Credentials::of_remote(self.settings, self.remote).await?;
        let endpoint = remote_endpoint(self.remote);
        let (session, sftp) = credentials.open_sftp(&endpoint).await?;
        self.ensure_directory(&sftp).await?;

        let (name, verified) = self.free_name(&session, &sftp, content).await?;
        let target = self.there(&name);
        let verified = match verified {
            Some(verified) => verified,
            None => {
                let done = known.map(|known| known.done).unwrap_or_default();
                self.upload(&credentials, (&session, &sftp), &target, content, done).await?
            }
        };
        self.write_sidecars(&sftp, &name, sha256).await?;
        // Some servers take a file away once it has its name, such as a virus scanner.
        let size = sftp.size(&target).await?;
        if size != bytes {
            return Err(DeliverError::Altered { path: target, size, expected: bytes });
        }
        self.store_mark().await?;
        let stored_as = (name != self.file).then_some(name);
        self.store_progress(Delivery::verified(sha256, verified.clone(), stored_as.clone())).await?;
        session.close().await;
        Ok(Delivered::Now { bytes, sha256, verified, stored_as })
    }

    /// The first name that is free, or has this content already; then with how that was verified.
    async fn free_name(
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
        match verify(session, sftp, &target, content.sha256).await {
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

    fn there(&self, name: &str) -> String {
        self.remote.file(name)
    }

    /// Uploads over several connections, verifies the part file, and only then renames it.
    async fn upload(
        &self,
        credentials: &Credentials,
        (session, sftp): (&Session, &Sftp),
        target: &str,
        Content { bytes, sha256 }: Content,
        done: RangeSet,
    ) -> Result<String, DeliverError> {
        let need = bytes.saturating_sub(done.bytes());
        if let Some(space) = sftp.space(&self.remote.path).await? {
            self.check_space(space, need)?;
        }
        let endpoint = remote_endpoint(self.remote);
        let wanted =
            self.connections_for(need).min(upload::useful_connections(sftp, &self.remote.path).await);
        // In parallel: one after the other they would cost as many round trips as they save.
        let opening: Vec<_> = (1..wanted).map(|_| credentials.open_sftp(&endpoint).boxed()).collect();
        let mut connections = Vec::new();
        for opened in join_all(opening).await {
            match opened {
                Ok(open) => connections.push(open),
                Err(error) => {
                    tracing::debug!("{}: uploading over one connection less: {error}", self.remote.name);
                }
            }
        }
        let lanes: Vec<Sftp> =
            std::iter::once(sftp.clone()).chain(connections.iter().map(|(_, sftp)| sftp.clone())).collect();
        let local = self.outbox.path(&self.file);
        let part = self.there(&format!(".{}.{}.part", self.settings.this, short(sha256)));
        let upload = Upload { local: &local, remote_part: &part, mode: MODE, done };
        let mut progress = Ok(());
        let uploaded = upload
            .run(&lanes, |ranges| {
                // Blocks, because a later range list must not be overwritten by an earlier one.
                progress = tokio::task::block_in_place(|| {
                    let delivery = Delivery { done: ranges.clone(), ..Delivery::of(sha256) };
                    self.outbox.keep_delivery(&self.file, &self.remote.name, &delivery)
                });
            })
            .await;
        let uploaded = uploaded.map_err(|source| match progress {
            Ok(()) => DeliverError::Upload(source),
            Err(error) => DeliverError::Progress { progress: chain(&error), source },
        })?;
        for (session, _) in connections {
            session.close().await;
        }
        let part = uploaded.part;
        let verified = match verify(session, sftp, &part, sha256).await {
            Ok(verified) => verified,
            Err(error @ DeliverError::Content { .. }) => {
                // The next attempt sends the whole archive.
                self.store_progress(Delivery::of(sha256)).await?;
                sftp.remove(&part).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        self.rename(sftp, &part, target, uploaded.synced).await?;
        let unsynced =
            if uploaded.synced { "" } else { "; the server cannot sync, so a power cut there may lose it" };
        Ok(format!("{verified}{unsynced}"))
    }

    /// Gives a verified part file its name.
    async fn rename(&self, sftp: &Sftp, part: &str, target: &str, synced: bool) -> Result<(), DeliverError> {
        // An upload may take hours, and a rename would replace what got this name since.
        if sftp.size(target).await.is_ok() {
            return Err(DeliverError::Occupied { path: target.to_owned() });
        }
        sftp.posix_rename(part, target).await?;
        if synced {
            // So that the rename survives a power cut. Not every server can sync a directory.
            if let Err(error) = sftp.fsync(&self.remote.path).await {
                tracing::debug!("{}: {error}", self.remote.name);
            }
        }
        Ok(())
    }

    /// Creates the remote's directory, unless an archive was verified there before: then it was lost, or its disk is not mounted.
    async fn ensure_directory(&self, sftp: &Sftp) -> Result<(), DeliverError> {
        if sftp.is_directory(&self.remote.path).await? {
            return Ok(());
        }
        let (outbox, name, location) = (self.marks(), self.remote.name.clone(), location(self.remote));
        if offload::run(move || outbox.has_shipped_to(&name, &location)).await? {
            return Err(DeliverError::Lost { path: self.remote.path.clone() });
        }
        Ok(sftp.create_dir_all(&self.remote.path, 0o700).await?)
    }

    async fn store_mark(&self) -> Result<(), StoreError> {
        let (outbox, name, location) = (self.marks(), self.remote.name.clone(), location(self.remote));
        offload::run(move || outbox.keep_shipped_to(&name, &location)).await
    }

    /// The outbox remembers which remotes were used, whatever was delivered to them.
    fn marks(&self) -> Outbox {
        Outbox::new(self.settings.paths.outbox())
    }

    fn check_space(&self, space: Space, need: u64) -> Result<(), DeliverError> {
        let path = self.remote.path.clone();
        if space.free < need {
            return Err(DeliverError::Full { path, need, free: space.free });
        }
        let name = format!("{}.sha256", self.file);
        match space.max_name {
            Some(max) if max < name.len() as u64 => Err(DeliverError::LongName { path, name, max }),
            _ => Ok(()),
        }
    }

    /// A server's window limits a connection to 2 MiB in flight, so large uploads are faster over several.
    fn connections_for(&self, bytes: u64) -> usize {
        const BYTES_PER_CONNECTION: u64 = 8 << 20;
        let useful = usize::try_from(bytes / BYTES_PER_CONNECTION).unwrap_or(usize::MAX);
        useful.clamp(1, self.remote.connections.max(1))
    }

    /// The content of the `.sha256` and `.sig` of the file under this name, by their extensions.
    async fn sidecars(&self, name: &str, sha256: Digest) -> Result<Vec<(&'static str, Vec<u8>)>, StoreError> {
        let checksum = format!("{sha256}  {name}\n").into_bytes();
        let (outbox, file) = (self.outbox.clone(), self.file.clone());
        let signature = offload::run(move || outbox.signature(&file)).await?;
        let signature = signature.map(|signature| ("sig", signature));
        Ok([("sha256", checksum)].into_iter().chain(signature).collect())
    }

    async fn write_sidecars(&self, sftp: &Sftp, name: &str, sha256: Digest) -> Result<(), DeliverError> {
        for (extension, content) in self.sidecars(name, sha256).await? {
            let path = format!("{}.{extension}", self.there(name));
            match sftp.read_small(&path, content.len()).await {
                Ok(there) if there == content => continue,
                Ok(_) => return Err(DeliverError::Occupied { path }),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error.into()),
            }
            let part = self.there(&format!(".{}.{extension}.part", short(sha256)));
            let part = write_new(sftp, part, &content).await?;
            sftp.posix_rename(&part, &path).await?;
        }
        Ok(())
    }

    async fn store_progress(&self, delivery: Delivery) -> Result<(), StoreError> {
        let (outbox, file, name) = (self.outbox.clone(), self.file.clone(), self.remote.name.clone());
        offload::run(move || outbox.keep_delivery(&file, &name, &delivery)).await
    }
}

/// Compares the hash of a file on the remote, which the remote computes if it runs commands; else it is read back.
pub async fn verify(
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

async fn hash_by_reading(sftp: &Sftp, path: &str) -> Result<Digest, DeliverError> {
    let size = sftp.size(path).await?;
    let mut sink = HashedSink::hash();
    sftp.download(path, 0..size, &mut sink).await?;
    let read = sink.finish().await;
    Ok(read.map_err(|source| DeliverError::Hash { path: path.to_owned(), source })?.sha256)
}
