//! One set from a peer's vault into this one: manifest first, then only what is not here already.

use std::collections::BTreeMap;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::digest::{Digest, Written};
use nightshift_core::manifest::{self, FileList, ListedFile, Manifest, ManifestError};
use nightshift_core::name::HostName;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Fate, SetReport, StartReason, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::units;
use nightshift_peers::{SignedError, check_signature};
use nightshift_ssh::{KnownHosts, Sftp, SftpError};

use super::download::{Download, Wanted};
use crate::context::StageContext;
use crate::stages::held;
use nightshift_store::offload;
use nightshift_store::space::{self, SpaceError};
use nightshift_store::verify::{self, MAX_SIGNATURE_LEN};
use nightshift_store::{Partial, StoreError};

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
    #[error("{0} is refused")]
    Signed(SetId, #[source] SignedError),
    #[error("{set} comes from {from}, who did not make it, and carries no signature of {made_by}")]
    Unsigned { set: SetId, from: HostName, made_by: HostName },
    #[error("{path} of {set} came twice with another content than its manifest says")]
    Content { set: SetId, path: String },
    #[error("the snapshot of {set} is not sound, though its maker called it {grade}: {findings}")]
    Unsound { set: SetId, grade: Grade, findings: String },
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
                | Self::Signed(..)
                | Self::Unsigned { .. }
                | Self::Content { .. }
                | Self::Unsound { .. }
        )
    }
}

/// What is said of a set that only a newer nightshift understands.
pub fn newer(format: u32) -> String {
    format!("newer: upgrade masters first (its manifest has format {format})")
}

/// What is here already of a set, and what is not.
struct Reused {
    partial: Partial,
    wanted: Vec<Wanted>,
    /// The machine-id in the last set of this host and role.
    machine: Option<String>,
}

/// A set on its way.
pub struct Fetch<'a> {
    pub ctx: &'a StageContext,
    pub source: Source<'a>,
    pub set: SetId,
}

impl Fetch<'_> {
    /// Fetches the set and publishes it here. A refusal is recorded; the peer's other sets may still be good.
    pub async fn run(self) -> Result<(), FetchError> {
        let result = self.fetch().await;
        if let Err(error) = &result
            && error.is_refusal()
        {
            self.refused(error).await?;
        }
        result
    }

    async fn fetch(&self) -> Result<(), FetchError> {
        let set = &self.set;
        let bytes = self.read(manifest::FILE, manifest::MAX_BYTES as usize).await?;
        let bytes = bytes.ok_or_else(|| FetchError::Withdrawn(set.clone()))?;
        let refuse = |error| FetchError::Manifest(set.clone(), error);
        let list = FileList::decode(&bytes).map_err(refuse)?;
        // What a newer nightshift made is kept byte for byte by its file list, and counts once this one is newer too.
        let manifest = if list.is_newer() {
            None
        } else {
            let manifest = Manifest::decode(&bytes).map_err(refuse)?;
            manifest.expect(set, &self.ctx.settings.cluster).map_err(refuse)?;
            Some(manifest)
        };
        let made_by = manifest.as_ref().map_or(&set.host, |manifest| &manifest.made_by);
        let signature = self.checked_signature(made_by, &bytes).await?;

        let partial = self.begin(bytes.clone()).await?;
        let total = list.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
        let format = list.format;
        let Reused { partial, wanted, machine } = self.reuse(partial, list).await?;
        let there = format!("{}/{}", self.source.vault, self.set);
        Download { sftp: self.source.sftp, there, set, partial: &partial }.all(&wanted).await?;
        let partial = match &manifest {
            Some(manifest) => self.pass(partial, manifest).await?,
            None => partial,
        };
        let digest = offload::run(move || partial.publish(&bytes, signature.as_deref())).await?;
        if let Some(manifest) = &manifest {
            self.tell_other_machine(machine, manifest);
        }
        self.pulled(manifest.as_ref(), format, total, digest).await
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

    /// What is fetched from its origin host is known by the connection; from any other host only by the signature.
    async fn checked_signature(
        &self,
        made_by: &HostName,
        bytes: &[u8],
    ) -> Result<Option<String>, FetchError> {
        let set = self.set.clone();
        let signature = self.read(manifest::SIGNATURE_FILE, MAX_SIGNATURE_LEN as usize).await?;
        let signature = signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (inventory, known_hosts) = (&self.ctx.settings.inventory, self.source.known_hosts);
        let signed = check_signature(inventory, known_hosts, &set.host, made_by, bytes, signature.as_deref());
        match signed {
            Ok(false) if self.source.host != made_by => {
                Err(FetchError::Unsigned { set, from: self.source.host.clone(), made_by: made_by.clone() })
            }
            Ok(_) => Ok(signature),
            Err(error) => Err(FetchError::Signed(set, error)),
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
            partial.clear()?;
            partial.write(manifest::FILE, &bytes)?;
            Ok::<_, StoreError>(partial)
        })
        .await?)
    }

    /// Takes what is here already: left by an earlier try, or unchanged since an earlier night.
    async fn reuse(&self, partial: Partial, list: FileList) -> Result<Reused, FetchError> {
        let (vault, set) = (self.ctx.vault.clone(), self.set.clone());
        let leave = self.ctx.settings.vault.min_free;
        offload::run(move || {
            let previous = vault.previous(&set.host, set.night, set.role)?;
            // By content: a file that only moved is found as well.
            let known: BTreeMap<Digest, &str> = previous
                .iter()
                .flat_map(Manifest::files)
                .map(|(item, _, sha256)| (sha256, item.path.as_str()))
                .collect();
            let mut wanted = Vec::new();
            for ListedFile { path, size, sha256 } in list.files {
                let written = Written { size, sha256 };
                if partial.left_over(&path) == Some(written) {
                    continue;
                }
                if let (Some(previous), Some(earlier)) = (&previous, known.get(&sha256))
                    && partial.link(&previous.id(), earlier, &path, written)?
                {
                    continue;
                }
                wanted.push(Wanted { path, written });
            }
            let need = wanted.iter().fold(0u64, |sum, file| sum.saturating_add(file.written.size));
            space::demand(vault.root(), need, wanted.len() as u64, leave)
                .map_err(|error| FetchError::Space(set, error))?;
            let machine = previous.and_then(|previous| previous.machine.machine_id);
            Ok(Reused { partial, wanted, machine })
        })
        .await
    }

    /// Its maker's word is not enough for a snapshot: it may know less of what to look for.
    async fn pass(&self, partial: Partial, manifest: &Manifest) -> Result<Partial, FetchError> {
        let snapshot = manifest.items.iter().find(|item| verify::is_snapshot(&item.path));
        let (Some(item), true) = (snapshot, manifest.grade > Grade::Bad) else { return Ok(partial) };
        let path = partial.folder().join(&item.path);
        let raw_size = verify::raw_size(manifest);
        let findings = offload::run(move || verify::verify_snapshot(&path, raw_size)).await;
        if findings.is_empty() {
            return Ok(partial);
        }
        let (set, grade) = (self.set.clone(), manifest.grade);
        Err(FetchError::Unsound { set, grade, findings: findings.join("; ") })
    }

    /// Another machine under a known name is worth a look: it was reinstalled, or it is not who it says.
    fn tell_other_machine(&self, before: Option<String>, manifest: &Manifest) {
        let (Some(before), Some(now)) = (before, &manifest.machine.machine_id) else { return };
        if before != *now {
            let reason = format!("its machine-id was {before} and is {now}: was it reinstalled or replaced?");
            self.ctx.tell(Event {
                peer: Some(manifest.host.clone()),
                role: Some(manifest.role),
                reason: Some(reason.clone()),
                ..Event::warning(Kind::PeerOdd, format!("{}: {reason}", manifest.host))
            });
        }
    }

    async fn pulled(
        &self,
        manifest: Option<&Manifest>,
        format: u32,
        bytes: u64,
        digest: Digest,
    ) -> Result<(), FetchError> {
        let late = self.ctx.why == StartReason::MissingSets;
        let made_by = manifest.map_or(&self.set.host, |manifest| &manifest.made_by);
        let from = (self.source.host != made_by).then(|| self.source.host.clone());
        let (vault, set) = (self.ctx.vault.clone(), self.set.clone());
        let judged = match manifest {
            Some(_) => Some(offload::run(move || vault.judge(&set)).await?),
            None => None,
        };
        let grade = judged.as_ref().map(|judged| judged.grade);
        let reason = match &judged {
            Some(judged) => judged.reason(),
            None => Some(newer(format)),
        };
        let report = SetReport {
            set: self.set.clone(),
            fate: if late { Fate::Late } else { Fate::Pulled },
            grade,
            from,
            bytes,
            sha256: Some(digest),
            reason: reason.clone(),
        };
        self.ctx.note(Step::Set(report.clone())).await?;
        if grade == Some(Grade::Diverged) {
            held::tell_diverged(self.ctx, &report);
        }
        let worth = grade.map_or_else(|| newer(format), |grade| grade.to_string());
        let (kind, word) = if late { (Kind::SetLate, "late") } else { (Kind::SetPulled, "pulled") };
        self.ctx.tell(Event {
            peer: Some(self.source.host.clone()),
            role: Some(self.set.role),
            path: Some(self.ctx.vault.folder(&self.set).display().to_string()),
            bytes: Some(bytes),
            sha256: Some(digest),
            outcome: Some(word),
            reason,
            ..Event::info(kind, format!("{} {word}: {worth}, {}", self.set, units::bytes(bytes)))
        });
        // Its agreement may name a member whose set is here already.
        if self.set.role == Role::Etcd {
            held::judge_again(self.ctx).await?;
        }
        Ok(())
    }

    async fn refused(&self, error: &FetchError) -> Result<(), FetchError> {
        let reason = nightshift_core::chain(error);
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
