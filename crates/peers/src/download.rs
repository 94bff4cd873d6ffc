//! The files of a set, from a peer into the set's partial directory: resumed where they stopped, hashed as they arrive.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::set_path::SetId;
use nightshift_ssh::SftpError;
use nightshift_store::{Partial, SetFile, StoreError, offload};

use crate::fetch_error::FetchError;
use crate::sink::HashedSink;
use crate::vault::PeerVault;

/// Files of one set that are transferred at the same time, on one connection.
const MAX_PARALLEL: usize = 16;
/// Bytes. A file up to this size is read by one request and written in one piece.
const MAX_SMALL: u64 = 192 << 10;

/// A file that the set still lacks, with the size and the hash from its manifest.
pub struct Wanted {
    pub path: String,
    pub content: Written,
}

pub struct Download<'a> {
    pub peer: &'a PeerVault,
    pub set: &'a SetId,
    pub partial: &'a Partial,
}

impl Download<'_> {
    pub async fn all(&self, wanted: &[Wanted]) -> Result<(), FetchError> {
        let files: Vec<_> = wanted.iter().map(|file| self.file(file).boxed()).collect();
        stream::iter(files).buffer_unordered(MAX_PARALLEL).try_collect().await
    }

    /// Fetches one file. If the hash is wrong, the file is fetched again as a whole, once.
    async fn file(&self, file: &Wanted) -> Result<(), FetchError> {
        for resume in [true, false] {
            let arrived = if file.content.size <= MAX_SMALL {
                self.small(file).await?
            } else {
                self.large(file, resume).await?
            };
            if arrived == Some(file.content) {
                return Ok(());
            }
        }
        let (partial, path) = (self.partial.clone(), file.path.clone());
        offload::run(move || partial.discard(&path)).await?;
        Err(FetchError::Content { set: self.set.clone(), path: file.path.clone() })
    }

    async fn small(&self, file: &Wanted) -> Result<Option<Written>, FetchError> {
        self.peer.sftp().take_bandwidth(file.content.size).await;
        let bytes = match self.peer.sftp().read_small(&self.there(file), MAX_SMALL as usize).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.read_error(error)),
        };
        let arrived = Written { size: bytes.len() as u64, sha256: Digest::of(&bytes) };
        if arrived == file.content {
            let (partial, path) = (self.partial.clone(), file.path.clone());
            offload::run(move || {
                partial.discard(&path)?;
                partial.write(&path, &bytes)
            })
            .await?;
        }
        Ok(Some(arrived))
    }

    /// `None` if the file on the peer ended early.
    async fn large(&self, file: &Wanted, resume: bool) -> Result<Option<Written>, FetchError> {
        let (partial, path, size) = (self.partial.clone(), file.path.clone(), file.content.size);
        let target = offload::run(move || open(&partial, &path, size, resume)).await?;
        let from = target.size();
        let mut sink = HashedSink::to_file(self.partial.guard(), target);
        let came = self.peer.sftp().download(&self.there(file), from..size, &mut sink).await;
        match (came, sink.finish().await) {
            // A full disk is seen here; the download only sees that the sink ended.
            (_, Err(source)) => {
                Err(FetchError::Write { set: self.set.clone(), path: file.path.clone(), source })
            }
            (Err(SftpError::Truncated { .. }), Ok(_)) => Ok(None),
            (Err(error), Ok(_)) => Err(self.read_error(error)),
            (Ok(()), Ok(arrived)) => Ok(Some(arrived)),
        }
    }

    fn there(&self, file: &Wanted) -> String {
        self.peer.path(&format!("{}/{}", self.set, file.path))
    }

    fn read_error(&self, error: SftpError) -> FetchError {
        if error.is_gone() {
            FetchError::Withdrawn(self.set.clone())
        } else {
            FetchError::Sftp(self.set.clone(), error)
        }
    }
}

/// The file to write to: what an earlier attempt left of it, or a new one.
fn open(partial: &Partial, path: &str, size: u64, resume: bool) -> Result<HashedWriter<SetFile>, StoreError> {
    let left = if resume { partial.reopen(path)? } else { None };
    match left.filter(|left| left.size() < size) {
        Some(left) => Ok(left),
        None => {
            partial.discard(path)?;
            Ok(HashedWriter::new(partial.create(path)?))
        }
    }
}
