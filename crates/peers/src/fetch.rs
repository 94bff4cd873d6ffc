//! One set from a peer's vault into this host's: the manifest first, then only the files that are not here already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::digest::{Digest, Written};
use nightshift_core::manifest::{self, FileList, ListedFile, Manifest};
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_store::space::Amount;
use nightshift_store::verify::{EtcdCheck, MAX_SIGNATURE_LEN, verify_etcd_data};
use nightshift_store::{Partial, Vault, offload};

use crate::download::{Download, Wanted};
use crate::fetch_error::FetchError;
use crate::signed::Trust;
use crate::vault::PeerVault;

/// A set that was fetched and is published in this host's vault.
#[derive(Debug)]
pub struct Fetched {
    /// `None` if only a newer nightshift can read it: then the set is stored as it is, and does not count yet.
    pub manifest: Option<Manifest>,
    /// The format of the manifest.
    pub format: u32,
    /// The sum of all file sizes.
    pub bytes: u64,
    /// The hash of the manifest.
    pub sha256: Digest,
    /// The machine-id in the previous set of this host and role.
    pub previous_machine: Option<String>,
    /// When everything in it was verified here. `None` if a part of it cannot be: its format is newer, its origin host graded it
    /// bad, or its facts are about something that only a drill can check.
    pub verified: Option<Timestamp>,
}

/// A manifest that was checked: of this set, from its origin host.
struct Authentic {
    bytes: Vec<u8>,
    signature: Option<String>,
    list: FileList,
    manifest: Option<Manifest>,
}

/// The files of a set that are not here, and the partial set with those that are.
struct Missing {
    partial: Partial,
    wanted: Vec<Wanted>,
    previous_machine: Option<String>,
}

/// What a set may use of this host's vault, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// What stays free.
    pub min_free: u64,
    /// The maximum size of the set.
    pub max_size: u64,
}

/// The manifest and the signature, each created at most twice.
const OWN_FILES: u64 = 4;

/// Sets of one host and night that only a newer nightshift can read. Nothing in them can be checked, so only a few are stored.
const MAX_NEWER: usize = 3;

/// Fetches a set, checks it, and publishes it in `vault`.
pub async fn fetch(
    peer: &PeerVault,
    set: &SetId,
    trust: &Trust<'_>,
    vault: &Vault,
    space: Space,
) -> Result<Fetched, FetchError> {
    let Authentic { bytes, signature, list, manifest } = authentic(peer, set, trust).await?;
    let format = list.format;
    let total = list.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
    if total > space.max_size {
        return Err(FetchError::TooLarge { set: set.clone(), total, max: space.max_size });
    }
    let (into, of, kept) = (vault.clone(), set.clone(), bytes.clone());
    let is_newer = manifest.is_none();
    let missing = offload::run(move || {
        if is_newer {
            limit_newer(&into, &of)?;
        }
        reuse(&into, &of, &kept, list, space.min_free)
    });
    let missing = missing.await?;
    let Missing { partial, wanted, previous_machine } = missing;
    let limit = time_limit(&wanted);
    let download = Download { peer, set, partial: &partial };
    let downloaded = within(limit, || peer.sftp().waited(), download.all(&wanted)).await;
    downloaded.ok_or_else(|| FetchError::TooSlow(set.clone(), limit.as_secs()))??;
    let is_checked = match &manifest {
        Some(manifest) if manifest.grade > Grade::Bad => check_etcd_data(set, &partial, manifest).await?,
        _ => false,
    };
    let verified = is_checked.then(Timestamp::now);
    let sha256 = offload::run(move || partial.publish(&bytes, signature.as_deref())).await?;
    Ok(Fetched { manifest, format, bytes: total, sha256, previous_machine, verified })
}

/// How long a set may take in all: a host that is slow enough to keep every single request alive would never end. The rate is
/// that of a bad line shared by many hosts.
fn time_limit(wanted: &[Wanted]) -> Duration {
    const GRACE: Duration = Duration::from_secs(120);
    const BYTES_PER_SECOND: u64 = 16 << 10;
    const FILES_PER_SECOND: u64 = 20;
    let bytes = wanted.iter().fold(0u64, |sum, file| sum.saturating_add(file.content.size));
    GRACE + Duration::from_secs(bytes / BYTES_PER_SECOND + wanted.len() as u64 / FILES_PER_SECOND)
}

/// The result of the work; `None` if it takes longer than the limit, without the time that it waited for bandwidth.
async fn within<T>(
    limit: Duration,
    waited: impl Fn() -> Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    const POLL_INTERVAL: Duration = Duration::from_secs(1);
    let (began, before) = (Instant::now(), waited());
    let mut work = std::pin::pin!(work);
    loop {
        let left = (limit + waited().saturating_sub(before)).saturating_sub(began.elapsed());
        if left.is_zero() {
            return None;
        }
        if let Ok(done) = tokio::time::timeout(left.max(POLL_INTERVAL), &mut work).await {
            return Some(done);
        }
    }
}

/// Ends a blocking check when the fetch that waits for it is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads a set's manifest and checks where it comes from. What is read from its origin host is authenticated by the
/// connection; what is read from any other host, only by the signature.
async fn authentic(peer: &PeerVault, set: &SetId, trust: &Trust<'_>) -> Result<Authentic, FetchError> {
    let unread = |error| FetchError::Sftp(set.clone(), error);
    let refused = |error| FetchError::Manifest(set.clone(), error);
    let bytes = peer.manifest(set).await.map_err(unread)?;
    let bytes = bytes.ok_or_else(|| FetchError::Withdrawn(set.clone()))?;
    let list = FileList::decode(&bytes).map_err(refused)?;
    // A newer nightshift's set is stored by its file list, whose shape never changes. It counts after an upgrade.
    let manifest = if list.is_newer() {
        None
    } else {
        let manifest = Manifest::decode(&bytes).map_err(refused)?;
        manifest.expect(set, trust.cluster).map_err(refused)?;
        Some(manifest)
    };
    let made_by = manifest.as_ref().map_or(&set.host, |manifest| &manifest.made_by);
    let path = format!("{set}/{}", manifest::SIGNATURE_FILE);
    let signature = peer.read(&path, MAX_SIGNATURE_LEN).await.map_err(unread)?;
    let signature = signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // The time in a newer format is unknown: then only keys count that are pinned now.
    let made_at = manifest.as_ref().map_or(Timestamp::MAX, |manifest| manifest.made_at);
    let is_signed = match trust.check_signature(&set.host, made_by, made_at, &bytes, signature.as_deref()) {
        Ok(is_signed) => is_signed,
        // The connection authenticates the origin host, also where only a certificate authority is trusted for it.
        Err(error) if error.is_unchecked() && peer.host() == made_by => false,
        Err(error) => return Err(FetchError::Signed(set.clone(), error)),
    };
    if !is_signed && peer.host() != made_by {
        let (from, made_by) = (peer.host().clone(), made_by.clone());
        return Err(FetchError::Unsigned { set: set.clone(), from, made_by });
    }
    Ok(Authentic { bytes, signature, list, manifest })
}

fn limit_newer(vault: &Vault, set: &SetId) -> Result<(), FetchError> {
    let stored = vault.sets_of(&set.host, set.night)?;
    match stored.iter().filter(|stored| vault.is_newer(stored)).count() {
        MAX_NEWER.. => Err(FetchError::TooManyNewer(set.clone())),
        _ => Ok(()),
    }
}

/// Begins the set with the files that are here already: from an earlier attempt under the same manifest, or unchanged
/// since an earlier night. Blocks.
fn reuse(
    vault: &Vault,
    set: &SetId,
    manifest: &[u8],
    list: FileList,
    min_free: u64,
) -> Result<Missing, FetchError> {
    let partial = vault.resume(set)?;
    if !std::fs::read(partial.directory().join(manifest::FILE)).is_ok_and(|kept| kept == manifest) {
        partial.clear()?;
        partial.write(manifest::FILE, manifest)?;
    }
    let previous = vault.previous(&set.host, set.night, set.role)?;
    // By content, because a file may have another path since.
    let known: BTreeMap<Digest, &str> = previous
        .iter()
        .flat_map(Manifest::files)
        .map(|(item, _, sha256)| (sha256, item.path.as_str()))
        .collect();
    let mut wanted = Vec::new();
    for ListedFile { path, size, sha256 } in list.files {
        let content = Written { size, sha256 };
        if partial.left_over(&path) == Some(content) {
            continue;
        }
        if let (Some(previous), Some(earlier)) = (&previous, known.get(&sha256))
            && partial.link(&previous.id(), earlier, &path, content)?
        {
            continue;
        }
        wanted.push(Wanted { path, content });
    }
    let files = wanted.iter().fold(0u64, |sum, file| sum.saturating_add(file.content.size));
    // Beside the files, the manifest is written twice and the signature once, under temporary names too.
    let own = (2 * manifest.len() as u64).saturating_add(MAX_SIGNATURE_LEN);
    let need = Amount {
        bytes: files.saturating_add(own),
        inodes: (list.directories + wanted.len() as u64).saturating_add(OWN_FILES),
    };
    let budget = vault.budget(min_free, need);
    budget.reserve(need.bytes, need.inodes).map_err(|error| FetchError::Space(set.clone(), error))?;
    let partial = partial.within(budget);
    let previous_machine = previous.and_then(|previous| previous.machine.machine_id).map(String::from);
    Ok(Missing { partial, wanted, previous_machine })
}

/// Compares the set's etcd data with its manifest here. Returns whether that was possible for all of it.
async fn check_etcd_data(set: &SetId, partial: &Partial, manifest: &Manifest) -> Result<bool, FetchError> {
    let stop = StopOnDrop(Arc::default());
    let stopped = Arc::clone(&stop.0);
    let (directory, of) = (partial.directory().to_owned(), manifest.clone());
    let EtcdCheck { findings, unchecked } = offload::run(move || {
        verify_etcd_data(&directory, &of, &|_| true, &|| stopped.load(Ordering::Relaxed))
    })
    .await;
    drop(stop);
    if findings.is_empty() {
        return Ok(unchecked.is_empty());
    }
    let (set, grade) = (set.clone(), manifest.grade);
    Err(FetchError::Unsound { set, grade, findings: findings.join("; ") })
}
