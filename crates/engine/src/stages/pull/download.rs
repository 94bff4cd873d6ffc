//! The files of a set over SFTP into its partial: resumed where they broke off, hashed as they stream.

use std::fs::File;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::set_path::SetId;
use nightshift_ssh::{Sftp, SftpError};

use super::fetch::FetchError;
use super::file_sink::FileSink;
use nightshift_store::offload;
use nightshift_store::{Partial, StoreError};

/// Files of one set under way at a time, on one connection.
const FILES: usize = 16;
/// Files up to this size come in one request and go to disk in one piece.
const SMALL: u64 = 192 << 10;

/// A file that the set still lacks.
pub struct Wanted {
    pub path: String,
    pub written: Written,
}

pub struct Download<'a> {
    pub sftp: &'a Sftp,
    /// The set's folder there.
    pub there: String,
    pub set: &'a SetId,
    pub partial: &'a Partial,
}

impl Download<'_> {
    pub async fn all(&self, wanted: &[Wanted]) -> Result<(), FetchError> {
        let files: Vec<_> = wanted.iter().map(|file| self.file(file).boxed()).collect();
        stream::iter(files).buffer_unordered(FILES).try_collect().await
    }

    /// Fetches one file. A wrong hash drops what came and fetches it whole, once.
    async fn file(&self, file: &Wanted) -> Result<(), FetchError> {
        for resume in [true, false] {
            let written = if file.written.size <= SMALL {
                self.small(file).await?
            } else {
                self.large(file, resume).await?
            };
            if written == Some(file.written) {
                return Ok(());
            }
        }
        let (partial, path) = (self.partial.clone(), file.path.clone());
        offload::run(move || partial.discard(&path)).await?;
        Err(FetchError::Content { set: self.set.clone(), path: file.path.clone() })
    }

    async fn small(&self, file: &Wanted) -> Result<Option<Written>, FetchError> {
        let there = format!("{}/{}", self.there, file.path);
        let bytes = match self.sftp.read_small(&there, SMALL as usize).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.read_error(error)),
        };
        let written = Written { size: bytes.len() as u64, sha256: Digest::of(&bytes) };
        if written != file.written {
            return Ok(Some(written));
        }
        let (partial, path) = (self.partial.clone(), file.path.clone());
        let written = offload::run(move || {
            partial.discard(&path)?;
            partial.write(&path, &bytes)
        });
        Ok(Some(written.await?))
    }

    async fn large(&self, file: &Wanted, resume: bool) -> Result<Option<Written>, FetchError> {
        let (partial, path, size) = (self.partial.clone(), file.path.clone(), file.written.size);
        let target = offload::run(move || open(&partial, &path, size, resume)).await?;
        let from = target.size();
        let mut sink = FileSink::new(self.partial.guard(), target);
        let there = format!("{}/{}", self.there, file.path);
        let came = self.sftp.download(&there, from..size, &mut sink).await;
        let written = sink.finish().await;
        match (came, written) {
            // A full disk shows here, and as a sink that takes no more.
            (_, Err(source)) => {
                Err(FetchError::Write { set: self.set.clone(), path: file.path.clone(), source })
            }
            (Err(SftpError::Truncated { .. }), Ok(_)) => Ok(None),
            (Err(error), Ok(_)) => Err(self.read_error(error)),
            (Ok(()), Ok(written)) => Ok(Some(written)),
        }
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
fn open(partial: &Partial, path: &str, size: u64, resume: bool) -> Result<HashedWriter<File>, StoreError> {
    let left = if resume { partial.reopen(path)? } else { None };
    match left.filter(|left| left.size() < size) {
        Some(left) => Ok(left),
        None => {
            partial.discard(path)?;
            Ok(HashedWriter::new(partial.create(path)?))
        }
    }
}
