//! The stored copy, brought to the scratch directory at a limited rate.

use std::fs::File;
use std::path::{Path, PathBuf};

use nightshift_core::etcd_facts::{ColdCopy, EtcdFacts};
use nightshift_core::units;
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_etcd::trial::member;
use nightshift_etcd::trial::unpack::{self, Stated};
use nightshift_snapshot::Ending;
use nightshift_store::packing::Packing;
use nightshift_store::{offload, space};

use super::rate::RateLimiter;

/// The write-ahead log of a restored member, in bytes: etcd preallocates two segments of 64 MB, and for a moment a third one.
const LOG_SIZE: u64 = 3 * (64 << 20);

/// Checks that there is space for the database, for the restored one, and for etcd to grow it.
pub fn require_space(scratch: &Path, db_size: u64, leave: u64) -> Result<(), Fault> {
    let need = db_size.saturating_mul(3).saturating_add(LOG_SIZE);
    space::require(scratch, need, 64, leave)
        .here(|| format!("not enough space to restore a database of {}", units::bytes(db_size)))
}

/// Unpacks a snapshot, checks its size and hash against its manifest, and returns its ending.
pub async fn unpack(
    file: File,
    packing: Packing,
    to: PathBuf,
    rate: u64,
    facts: Option<&EtcdFacts>,
) -> Result<Ending, Fault> {
    let (mut limiter, _stop) = RateLimiter::new(rate);
    let stated = facts.map(|facts| Stated { size: facts.raw_size, sha256: facts.raw_sha256 });
    offload::run(move || unpack::unpack(file, packing, &to, stated, |bytes| limiter.moved(bytes))).await
}

/// Unpacks the tar of a data directory, and checks its size and hash against its manifest.
pub async fn member(
    file: File,
    packing: Packing,
    to: PathBuf,
    rate: u64,
    expected: Option<ColdCopy>,
) -> Result<(), Fault> {
    let (mut limiter, _stop) = RateLimiter::new(rate);
    let stated = expected.map(|copy| Stated { size: copy.raw_size, sha256: copy.raw_sha256 });
    offload::run(move || member::unpack(file, packing, &to, stated, |bytes| limiter.moved(bytes))).await
}
