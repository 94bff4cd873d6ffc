//! The vault of another host, read over SFTP. Every read is bounded, whatever that host serves.

use std::sync::Arc;

use nightshift_core::digest::Digest;
use nightshift_core::hint::{self, Hint};
use nightshift_core::inventory::Host;
use nightshift_core::manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::proof::{self, Proof, ProofError, StoredProof, host_in_name};
use nightshift_core::role::Role;
use nightshift_core::set_path::{MAX_ATTEMPTS, SetDirName, SetId};
use nightshift_ssh::signature::verify;
use nightshift_ssh::{FileKind, KnownHosts, Session, Sftp, SftpError, Signatory, SignatureError};
use nightshift_store::verify::MAX_SIGNATURE_LEN;

use crate::credentials::{Credentials, ReachError, endpoint};

/// The maximum number of entries in a night's directory: three roles, their attempts and proofs.
const MAX_ENTRIES: usize = 200;
/// The maximum number of entries in a directory of proofs: those of many hosts, each with its signature.
const MAX_PROOFS: usize = 5000;

/// Another host's vault, over a connection of its own.
pub struct PeerVault {
    host: Host,
    known_hosts: Arc<KnownHosts>,
    /// The vault's directory on that host.
    root: String,
    session: Session,
    sftp: Sftp,
}

/// Why a proof of another host is not used.
#[derive(Debug, thiserror::Error)]
pub enum PeerProofError {
    #[error(transparent)]
    Sftp(#[from] SftpError),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("its signature is not one of {0}")]
    Signed(HostName, #[source] SignatureError),
}

impl PeerVault {
    pub async fn open(credentials: &Credentials, host: &Host) -> Result<Self, ReachError> {
        let (session, sftp) = credentials.open_sftp(&endpoint(host)).await?;
        let root = host.vault.to_string_lossy().into_owned();
        let known_hosts = Arc::clone(&credentials.known_hosts);
        Ok(Self { host: host.clone(), known_hosts, root, session, sftp })
    }

    pub async fn close(self) {
        self.session.close().await;
    }

    /// The host whose vault it is.
    pub const fn host(&self) -> &HostName {
        &self.host.name
    }

    pub(crate) const fn sftp(&self) -> &Sftp {
        &self.sftp
    }

    /// The published sets of a host and night, which may be another host's. Other names in the directory are ignored.
    pub async fn sets(&self, host: &HostName, night: Night) -> Result<Vec<SetId>, SftpError> {
        let mut sets: Vec<SetId> = self
            .list(&format!("{host}/{night}"), MAX_ENTRIES)
            .await?
            .into_iter()
            .filter(|(_, kind)| *kind == FileKind::Directory)
            .filter_map(|(name, _)| name.parse::<SetDirName>().ok())
            .map(|SetDirName { role, attempt }| SetId { host: host.clone(), night, role, attempt })
            .collect();
        sets.sort();
        sets.truncate(usize::from(MAX_ATTEMPTS) * Role::ALL.len());
        Ok(sets)
    }

    /// The bytes of a set's manifest; `None` if the set is not there, or was pruned.
    pub async fn manifest(&self, set: &SetId) -> Result<Option<Vec<u8>>, SftpError> {
        self.read(&format!("{set}/{}", manifest::FILE), manifest::max_bytes(set.role)).await
    }

    /// The SHA-256 of a set's manifest, by which proofs and copies refer to the set.
    pub async fn manifest_digest(&self, set: &SetId) -> Result<Option<Digest>, SftpError> {
        Ok(self.manifest(set).await?.map(|bytes| Digest::of(&bytes)))
    }

    /// The names of the proofs of a set that this host issued itself, in the order of their times.
    pub async fn proofs(&self, set: &SetId) -> Result<Vec<String>, SftpError> {
        let listed = self.list(&set.proofs().to_string_lossy(), MAX_PROOFS).await?;
        let names = listed.into_iter().map(|(name, _)| name);
        let mut names: Vec<String> =
            names.filter(|name| host_in_name(name).as_ref() == Some(self.host())).collect();
        names.sort();
        Ok(names)
    }

    /// Reads a proof. It counts only if this host issued it, and for the set with this manifest. The connection authenticates
    /// one without a signature; a signature that exists must be good.
    pub async fn proof(
        &self,
        set: &SetId,
        name: &str,
        manifest: Digest,
    ) -> Result<StoredProof, PeerProofError> {
        let relative = format!("{}/{name}", set.proofs().display());
        let bytes = self.sftp.read_small(&self.path(&relative), proof::MAX_BYTES as usize).await?;
        let proof = issued_by(self.host(), &bytes, set, manifest)?;
        proof.expect_name(name)?;
        let signature =
            self.read(&format!("{relative}{}", proof::SIGNATURE_EXTENSION), MAX_SIGNATURE_LEN).await?;
        let mut signature = signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if let Some(pem) = &signature {
            let (names, port) = (endpoint(&self.host).known_as, self.host.port);
            let by = Signatory { known_hosts: &self.known_hosts, names: &names, port, made_at: proof.at };
            match verify(proof::NAMESPACE, &bytes, pem, by) {
                Ok(_) => {}
                // The host is known by a certificate authority alone, so the connection is all that authenticates it.
                Err(error) if error.is_unchecked() => signature = None,
                Err(error) => return Err(PeerProofError::Signed(self.host().clone(), error)),
            }
        }
        Ok(StoredProof { proof, bytes, signature })
    }

    /// The host's current state as it publishes it; `None` if it cannot be read.
    pub async fn hint(&self) -> Option<Hint> {
        let bytes = self.read(&format!("{}/{}", self.host(), hint::FILE), hint::MAX_BYTES).await.ok()??;
        Hint::decode(&bytes)
    }

    /// Where something in the vault is on that host.
    pub(crate) fn path(&self, relative: &str) -> String {
        format!("{}/{relative}", self.root)
    }

    /// Reads a small file of the vault; `None` if it does not exist.
    pub(crate) async fn read(&self, relative: &str, most: u64) -> Result<Option<Vec<u8>>, SftpError> {
        match self.sftp.read_small(&self.path(relative), most as usize).await {
            Ok(bytes) => {
                // Its size was unknown before: the next transfers wait for it.
                self.sftp.take_bandwidth(bytes.len() as u64).await;
                Ok(Some(bytes))
            }
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The entries of a directory of the vault; none if it does not exist.
    async fn list(&self, relative: &str, most: usize) -> Result<Vec<(String, FileKind)>, SftpError> {
        match self.sftp.list(&self.path(relative), most).await {
            Ok(listing) => {
                Ok(listing.entries.into_iter().map(|entry| (entry.name, entry.stat.kind)).collect())
            }
            Err(error) if error.is_gone() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// A proof that its prover published itself, of the set with this manifest.
fn issued_by(host: &HostName, bytes: &[u8], set: &SetId, manifest: Digest) -> Result<Proof, ProofError> {
    let proof = Proof::decode(bytes)?;
    if proof.by != *host {
        return Err(ProofError::OtherProver(proof.by));
    }
    proof.expect(set, manifest).map(|()| proof)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightshift_core::fixtures;
    use nightshift_core::proof::DrillVerdict;

    #[test]
    fn a_proof_counts_only_from_its_prover_and_for_the_manifest_that_is_stored_here() {
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let stored = Digest::of(b"manifest");
        let bytes = fixtures::proof(&set, stored, DrillVerdict::Proved).encode().unwrap();
        let from = |host: &str| issued_by(&host.parse().unwrap(), &bytes, &set, stored);
        assert!(from("e2").unwrap().is_proved());
        assert!(matches!(from("m9"), Err(ProofError::OtherProver(_))), "another host passed it on");
        let of_another = issued_by(&"e2".parse().unwrap(), &bytes, &set, Digest::of(b"another"));
        assert!(matches!(of_another, Err(ProofError::OtherContent)));
    }
}
