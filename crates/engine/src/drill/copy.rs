//! The stored copy, brought to the scratch directory at a limited rate.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{ColdCopy, EtcdFacts};
use nightshift_core::units;
use nightshift_etcd::trial::fault::{Fault, Here as _};
use nightshift_snapshot::Ending;
use nightshift_store::packing::Packing;
use nightshift_store::{offload, space};

use super::member;
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
    let (limiter, _stop) = RateLimiter::new(rate);
    let max = facts.map(|facts| facts.raw_size);
    let ending = offload::run(move || unpack_file(file, packing, &to, max, limiter)).await?;
    let sha256 = Digest::from(ending.sha256);
    match facts {
        Some(facts) if ending.length != facts.raw_size => Err(Fault::Copy(format!(
            "the snapshot unpacks to {} bytes, but its manifest says {}",
            ending.length, facts.raw_size
        ))),
        Some(facts) if sha256 != facts.raw_sha256 => Err(Fault::Copy(format!(
            "the unpacked snapshot has SHA-256 {sha256}, but its manifest says {}",
            facts.raw_sha256
        ))),
        _ => Ok(ending),
    }
}

fn unpack_file(
    file: File,
    packing: Packing,
    to: &Path,
    max: Option<u64>,
    mut limiter: RateLimiter,
) -> Result<Ending, Fault> {
    let unreadable = |error: io::Error| Fault::Copy(format!("cannot unpack the copy: {error}"));
    let source = packing.unpack(file, max).map_err(unreadable)?;
    let doing = || format!("cannot write {}", to.display());
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).here(doing)?;
    source.pour(unreadable, |piece| {
        target.write_all(piece).here(doing)?;
        limiter.moved(piece.len() as u64).here(doing)
    })
}

/// Unpacks the tar of a data directory, and checks its size and hash against its manifest.
pub async fn member(
    file: File,
    packing: Packing,
    to: PathBuf,
    rate: u64,
    expected: Option<ColdCopy>,
) -> Result<(), Fault> {
    let (limiter, _stop) = RateLimiter::new(rate);
    offload::run(move || member::unpack(file, packing, &to, expected.as_ref(), limiter)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_unpacked_and_a_damaged_one_is_the_copys_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (packed, out) = (dir.path().join("a.gz"), dir.path().join("a"));
        let plain: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let mut bytes = gz.finish().unwrap();
        let unpacked = |max| {
            let (limiter, _stop) = RateLimiter::new(u64::MAX);
            let _from_before = std::fs::remove_file(&out);
            unpack_file(File::open(&packed).unwrap(), Packing::Gzip, &out, max, limiter)
        };
        std::fs::write(&packed, &bytes).unwrap();
        let ending = unpacked(None).unwrap();
        assert_eq!((ending.length, Digest::from(ending.sha256)), (plain.len() as u64, Digest::of(&plain)));
        assert!(matches!(unpacked(Some(1000)), Err(Fault::Copy(_))));
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&packed, &bytes).unwrap();
        assert!(matches!(unpacked(None), Err(Fault::Copy(_))));
    }
}
