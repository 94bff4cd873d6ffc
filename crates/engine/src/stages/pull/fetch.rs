//! One set from a peer's vault into this one: manifest first, then only what is not here already.

use std::collections::BTreeMap;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use nightshift_core::audit::{Event, Kind};
use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::manifest::{self, Manifest, ManifestError};
use nightshift_core::name::HostName;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Fate, SetReport, Step, Why};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_ssh::{KnownHosts, Sftp, SftpError, SignatureError, signature};

use super::file_sink::FileSink;
use crate::context::StageContext;
use crate::offload;
use crate::peer;
use crate::space::{self, SpaceError};
use crate::store::{Partial, StoreError, Written};

/// Files of one set under way at a time, on one connection.
const FILES: usize = 16;
/// Files up to this size come in one request and go to disk in one piece.
const SMALL: u64 = 192 << 10;
/// The longest signature: an RSA key of 16,384 bits makes 6 KB.
const SIGNATURE: usize = 16 << 10;

/// Where a set is fetched from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub sftp: &'a Sftp,
    /// The vault there.
    pub vault: &'a str,
    /// Whose vault it is.
    pub host: &'a HostName,
    pub known_hosts: &'a KnownHosts,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{0} was withdrawn while it was fetched")]
    Withdrawn(SetId),
    #[error("{0} cannot be read there")]
    Sftp(SetId, #[source] SftpError),
    #[error("the manifest of {0} is refused")]
    Manifest(SetId, #[source] ManifestError),
    #[error("the manifest of {set} says that {made_by} made it, who may not")]
    Maker { set: SetId, made_by: HostName },
    #[error("{set} comes from {from}, who did not make it, and carries no signature of {made_by}")]
    Unsigned { set: SetId, from: HostName, made_by: HostName },
    #[error("the signature of {0} is refused")]
    Signature(SetId, #[source] SignatureError),
    #[error("{path} of {set} came twice with another content than its manifest says")]
    Content { set: SetId, path: String },
    #[error("{path} of {set} cannot be written")]
    Write { set: SetId, path: String, source: std::io::Error },
    #[error("no room for {0}")]
    Space(SetId, #[source] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FetchError {
    /// Whether what is there is not to be trusted, so that asking again gives nothing better.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Manifest(..)
                | Self::Maker { .. }
                | Self::Unsigned { .. }
                | Self::Signature(..)
                | Self::Content { .. }
        )
    }
}

/// A set on its way.
pub struct Fetch<'a> {
    pub ctx: &'a StageContext,
    pub source: Source<'a>,
    pub set: SetId,
}

/// What a file in the set still needs.
struct Wanted {
    path: String,
    written: Written,
}

impl Fetch<'_> {
    /// Fetches the set and publishes it here. A refusal is recorded; the peer's other sets may still be good.
    pub async fn run(self) -> Result<Grade, FetchError> {
        let result = self.fetch().await;
        if let Err(error) = &result
            && error.is_refusal()
        {
            self.refused(error).await?;
        }
        result
    }

    async fn fetch(&self) -> Result<Grade, FetchError> {
        let set = &self.set;
        let bytes = self.read(manifest::FILE, manifest::MOST_BYTES as usize).await?;
        let bytes = bytes.ok_or_else(|| FetchError::Withdrawn(set.clone()))?;
        let manifest = Manifest::decode(&bytes)
            .and_then(|manifest| manifest.expect(set, &self.ctx.settings.cluster).map(|()| manifest))
            .map_err(|error| FetchError::Manifest(set.clone(), error))?;
        let signature = self.checked_signature(&manifest, &bytes).await?;

        let partial = self.begin(bytes.clone()).await?;
        let (partial, wanted) = self.reuse(partial, &manifest).await?;
        self.download_all(&partial, &wanted).await?;
        let digest = offload::run(move || partial.publish(&bytes, signature.as_deref())).await?;
        self.pulled(&manifest, digest).await?;
        Ok(manifest.grade)
    }

    /// Reads a small file of the set; `None` where it is not there.
    async fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, FetchError> {
        match self.source.sftp.read_small(&self.remote(name), most).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(FetchError::Sftp(self.set.clone(), error)),
        }
    }

    fn remote(&self, path: &str) -> String {
        format!("{}/{}/{path}", self.source.vault, self.set)
    }

    /// What is fetched from its maker is known by the connection; from anyone else only by the signature.
    async fn checked_signature(
        &self,
        manifest: &Manifest,
        bytes: &[u8],
    ) -> Result<Option<String>, FetchError> {
        let set = self.set.clone();
        let inventory = &self.ctx.settings.inventory;
        let agentless = inventory.get(&set.host).is_some_and(|host| host.agentless);
        let maker = inventory.get(&manifest.made_by);
        let may = manifest.made_by == set.host
            || (agentless && maker.is_some_and(|host| host.roles.has(Role::Master)));
        let Some(maker) = maker.filter(|_| may) else {
            return Err(FetchError::Maker { set, made_by: manifest.made_by.clone() });
        };
        let signature = self.read(manifest::SIGNATURE_FILE, SIGNATURE).await?;
        match signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
            Some(text) => {
                let names = peer::endpoint(maker).known_as;
                signature::verify(
                    manifest::NAMESPACE,
                    bytes,
                    &text,
                    self.source.known_hosts,
                    &names,
                    maker.port,
                )
                .map_err(|error| FetchError::Signature(set, error))?;
                Ok(Some(text))
            }
            None if *self.source.host == manifest.made_by => Ok(None),
            None => Err(FetchError::Unsigned {
                set,
                from: self.source.host.clone(),
                made_by: manifest.made_by.clone(),
            }),
        }
    }

    /// Goes on with what an earlier try left, if that was under the same manifest.
    async fn begin(&self, bytes: Vec<u8>) -> Result<Partial, FetchError> {
        let (vault, set) = (self.ctx.vault.clone(), self.set.clone());
        Ok(offload::run(move || {
            let partial = vault.resume(&set)?;
            let kept = std::fs::read(partial.folder().join(manifest::FILE)).unwrap_or_default();
            if kept == bytes {
                return Ok(partial);
            }
            let partial = vault.begin(&set)?;
            partial.write(manifest::FILE, &bytes)?;
            Ok::<_, StoreError>(partial)
        })
        .await?)
    }

    /// Takes what is here already: left by an earlier try, or unchanged since an earlier night.
    async fn reuse(
        &self,
        partial: Partial,
        manifest: &Manifest,
    ) -> Result<(Partial, Vec<Wanted>), FetchError> {
        let (vault, set) = (self.ctx.vault.clone(), self.set.clone());
        let leave = self.ctx.settings.vault.min_free;
        let files: Vec<Wanted> = manifest
            .files()
            .map(|(item, size, sha256)| Wanted { path: item.path.clone(), written: Written { size, sha256 } })
            .collect();
        offload::run(move || {
            let previous = vault.previous(&set.host, set.night, set.role)?;
            // By content: a file that only moved is found as well.
            let known: BTreeMap<Digest, &str> = previous
                .iter()
                .flat_map(Manifest::files)
                .map(|(item, _, sha256)| (sha256, item.path.as_str()))
                .collect();
            let mut wanted = Vec::new();
            for file in files {
                if partial.left_over(&file.path) == Some(file.written) {
                    continue;
                }
                if let (Some(previous), Some(earlier)) = (&previous, known.get(&file.written.sha256))
                    && partial.link(&previous.id(), earlier, &file.path, file.written)?
                {
                    continue;
                }
                wanted.push(file);
            }
            let need = wanted.iter().fold(0u64, |sum, file| sum.saturating_add(file.written.size));
            space::demand(vault.root(), need, wanted.len() as u64, leave)
                .map_err(|error| FetchError::Space(set, error))?;
            Ok((partial, wanted))
        })
        .await
    }

    async fn download_all(&self, partial: &Partial, wanted: &[Wanted]) -> Result<(), FetchError> {
        let downloads: Vec<_> = wanted.iter().map(|file| self.download(partial, file).boxed()).collect();
        stream::iter(downloads).buffer_unordered(FILES).try_collect().await
    }

    /// Fetches one file. A wrong hash drops what came and fetches it whole, once.
    async fn download(&self, partial: &Partial, file: &Wanted) -> Result<(), FetchError> {
        for resume in [true, false] {
            let written = if file.written.size <= SMALL {
                self.download_small(partial, file).await?
            } else {
                self.download_large(partial, file, resume).await?
            };
            if written == Some(file.written) {
                return Ok(());
            }
        }
        partial.discard(&file.path)?;
        Err(FetchError::Content { set: self.set.clone(), path: file.path.clone() })
    }

    async fn download_small(&self, partial: &Partial, file: &Wanted) -> Result<Option<Written>, FetchError> {
        let bytes = match self.source.sftp.read_small(&self.remote(&file.path), SMALL as usize).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.read_error(error)),
        };
        let written = Written { size: bytes.len() as u64, sha256: Digest::of(&bytes) };
        if written != file.written {
            return Ok(Some(written));
        }
        partial.discard(&file.path)?;
        Ok(Some(partial.write(&file.path, &bytes)?))
    }

    async fn download_large(
        &self,
        partial: &Partial,
        file: &Wanted,
        resume: bool,
    ) -> Result<Option<Written>, FetchError> {
        let left = if resume { partial.reopen(&file.path)? } else { None };
        let (target, from, hasher) = match left.filter(|(_, length, _)| *length < file.written.size) {
            Some(left) => left,
            None => {
                partial.discard(&file.path)?;
                (partial.create(&file.path)?, 0, Hasher::default())
            }
        };
        let mut sink = FileSink::new(target, from, hasher);
        let range = from..file.written.size;
        let came = self.source.sftp.download(&self.remote(&file.path), range, &mut sink).await;
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

    async fn pulled(&self, manifest: &Manifest, digest: Digest) -> Result<(), FetchError> {
        let late = self.ctx.why == Why::LookAgain;
        let from = (*self.source.host != manifest.made_by).then(|| self.source.host.clone());
        let bytes = manifest.total_bytes();
        let reason = (manifest.grade != Grade::Good).then(|| manifest.notes.join("; "));
        let report = SetReport {
            set: self.set.clone(),
            fate: if late { Fate::Late } else { Fate::Pulled },
            grade: Some(manifest.grade),
            from,
            bytes,
            sha256: Some(digest),
            reason: reason.clone(),
        };
        self.ctx.note(Step::Set(report)).await?;
        let (kind, word) = if late { (Kind::SetLate, "late") } else { (Kind::SetPulled, "pulled") };
        self.ctx.tell(Event {
            peer: Some(self.source.host.clone()),
            role: Some(self.set.role),
            path: Some(self.ctx.vault.folder(&self.set).display().to_string()),
            bytes: Some(bytes),
            sha256: Some(digest),
            outcome: Some(word),
            reason,
            ..Event::info(kind, format!("{} {word}: {}, {}", self.set, manifest.grade, space::bytes(bytes)))
        });
        Ok(())
    }

    async fn refused(&self, error: &FetchError) -> Result<(), FetchError> {
        let reason = crate::context::chain(error);
        let report = SetReport {
            set: self.set.clone(),
            fate: Fate::Refused,
            grade: None,
            from: Some(self.source.host.clone()),
            bytes: 0,
            sha256: None,
            reason: Some(reason.clone()),
        };
        self.ctx.note(Step::Set(report)).await?;
        self.ctx.tell(Event {
            peer: Some(self.source.host.clone()),
            role: Some(self.set.role),
            outcome: Some("refused"),
            reason: Some(reason.clone()),
            ..Event::error(Kind::SetRefused, format!("{} refused: {reason}", self.set))
        });
        Ok(())
    }
}
