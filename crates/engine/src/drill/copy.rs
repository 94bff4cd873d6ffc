//! The stored copy, brought to the scratch folder at a rate that the disk's other users can bear.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::{ColdCopy, EtcdFacts};
use nightshift_core::units;
use nightshift_etcd::trial::{Fault, Here as _};
use nightshift_snapshot::{Ending, TrailerCheck};

use nightshift_store::offload;
use nightshift_store::packing::Packing;
use nightshift_store::space;

const CHUNK: usize = 256 << 10;
/// The log that a restored member begins with: etcd lays out two segments ahead, and a third while it cuts one.
const LOG: u64 = 3 * (64 << 20);

/// Room for the database, for what is restored of it, and for etcd to grow it.
pub fn demand_room(scratch: &Path, db_size: u64, leave: u64) -> Result<(), Fault> {
    let need = db_size.saturating_mul(3).saturating_add(LOG);
    space::demand(scratch, need, 64, leave)
        .here(|| format!("not enough room to restore a database of {}", units::bytes(db_size)))
}

/// Ends the copying when it is dropped: a thread knows nothing of who waits for it.
#[derive(Debug, Default)]
struct Leash(Arc<AtomicBool>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Unpacks a snapshot, makes sure that it is what its manifest says, and tells how it ends.
pub async fn unpack(
    file: PathBuf,
    packing: Packing,
    to: PathBuf,
    rate: u64,
    facts: Option<&EtcdFacts>,
) -> Result<Ending, Fault> {
    let leash = Leash::default();
    let raw_size = facts.map(|facts| facts.raw_size);
    let pace = Pace { rate, begun: Instant::now(), moved: 0, stop: Arc::clone(&leash.0) };
    let ending = offload::run(move || pour(&file, packing, &to, raw_size, pace)).await?;
    let sha256 = Digest::from(ending.sha256);
    match facts {
        Some(facts) if ending.length != facts.raw_size => Err(Fault::Copy(format!(
            "it unpacks to {} bytes, and {} were taken",
            ending.length, facts.raw_size
        ))),
        Some(facts) if sha256 != facts.raw_sha256 => Err(Fault::Copy(format!(
            "unpacked it has the SHA-256 {sha256}, and {} was taken",
            facts.raw_sha256
        ))),
        _ => Ok(ending),
    }
}

fn pour(
    file: &Path,
    packing: Packing,
    to: &Path,
    raw_size: Option<u64>,
    mut pace: Pace,
) -> Result<Ending, Fault> {
    let source = File::open(file).here(|| format!("{} cannot be opened", file.display()))?;
    let unreadable =
        |error: io::Error| Fault::Copy(format!("{} cannot be unpacked: {error}", file.display()));
    let mut source = packing.unpack(source, raw_size).map_err(unreadable)?;
    let mut target = fresh(to)?;
    let mut trailer = TrailerCheck::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => return Ok(trailer.finish()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        trailer.update(&buffer[..read]);
        target.write_all(&buffer[..read]).here(|| format!("{} cannot be written", to.display()))?;
        pace.moved(read as u64)?;
    }
}

/// Unpacks the tar of a cold copy, and makes sure that it is what its manifest says.
pub async fn member(
    file: PathBuf,
    packing: Packing,
    to: PathBuf,
    rate: u64,
    expected: Option<ColdCopy>,
) -> Result<(), Fault> {
    let leash = Leash::default();
    let pace = Pace { rate, begun: Instant::now(), moved: 0, stop: Arc::clone(&leash.0) };
    offload::run(move || super::member::unpack(&file, packing, &to, expected.as_ref(), pace)).await
}

/// Copies a data dir; links and devices have no business in one.
pub async fn data_dir(from: PathBuf, to: PathBuf, rate: u64) -> Result<(), Fault> {
    let leash = Leash::default();
    let mut pace = Pace { rate, begun: Instant::now(), moved: 0, stop: Arc::clone(&leash.0) };
    offload::run(move || copy_folder(&from, &to, &mut pace)).await
}

fn copy_folder(from: &Path, to: &Path, pace: &mut Pace) -> Result<(), Fault> {
    let doing = || format!("{} cannot be copied", from.display());
    fs::DirBuilder::new().here_mode(to).here(doing)?;
    for entry in fs::read_dir(from).here(doing)? {
        let entry = entry.here(doing)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().here(doing)?;
        if kind.is_dir() {
            copy_folder(&path, &target, pace)?;
        } else if kind.is_file() {
            let doing = || format!("{} cannot be copied", path.display());
            let (mut source, mut target) = (File::open(&path).here(doing)?, fresh(&target)?);
            let mut buffer = vec![0; CHUNK];
            loop {
                match source.read(&mut buffer).here(doing)? {
                    0 => break,
                    read => {
                        target.write_all(&buffer[..read]).here(doing)?;
                        pace.moved(read as u64)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The bytes of all files below a folder.
pub fn size_of(folder: &Path) -> io::Result<u64> {
    let mut size = 0u64;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let more =
            if entry.file_type()?.is_dir() { size_of(&entry.path())? } else { entry.metadata()?.len() };
        size = size.saturating_add(more);
    }
    Ok(size)
}

fn fresh(path: &Path) -> Result<File, Fault> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .here(|| format!("{} cannot be created", path.display()))
}

trait Private {
    fn here_mode(&mut self, path: &Path) -> io::Result<()>;
}

impl Private for fs::DirBuilder {
    fn here_mode(&mut self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::DirBuilderExt::mode(self, 0o700).create(path)
    }
}

/// Holds what is copied to a rate, and ends it when nobody waits for it any more.
pub(super) struct Pace {
    rate: u64,
    begun: Instant,
    moved: u64,
    stop: Arc<AtomicBool>,
}

impl Pace {
    #[cfg(test)]
    pub(super) fn unbounded() -> Self {
        Self { rate: u64::MAX, begun: Instant::now(), moved: 0, stop: Arc::default() }
    }

    pub(super) fn moved(&mut self, bytes: u64) -> Result<(), Fault> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Fault::Here("it was stopped".to_owned()));
        }
        self.moved = self.moved.saturating_add(bytes);
        thread::sleep(self.owed(self.begun.elapsed()));
        Ok(())
    }

    /// How much earlier it is than the rate allows.
    fn owed(&self, elapsed: Duration) -> Duration {
        let due = u128::from(self.moved) * 1_000_000 / u128::from(self.rate.max(1));
        Duration::from_micros(u64::try_from(due).unwrap_or(u64::MAX)).saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace { rate, begun: Instant::now(), moved: 0, stop: Arc::default() }
    }

    #[test]
    fn what_is_ahead_of_its_rate_waits() {
        let pace = Pace { moved: 5_000_000, ..pace(1_000_000) };
        assert_eq!(pace.owed(Duration::from_secs(2)), Duration::from_secs(3));
        assert_eq!(pace.owed(Duration::from_secs(6)), Duration::ZERO);
    }

    #[test]
    fn a_packed_file_comes_out_as_it_went_in_and_a_damaged_one_is_the_copys_fault() {
        let folder = tempfile::tempdir().unwrap();
        let (packed, out) = (folder.path().join("a.gz"), folder.path().join("a"));
        let plain: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let mut bytes = gz.finish().unwrap();
        fs::write(&packed, &bytes).unwrap();
        let ending = pour(&packed, Packing::Gzip, &out, None, pace(u64::MAX)).unwrap();
        assert_eq!((ending.length, Digest::from(ending.sha256)), (plain.len() as u64, Digest::of(&plain)));

        fs::remove_file(&out).unwrap();
        assert!(matches!(
            pour(&packed, Packing::Gzip, &out, Some(1000), pace(u64::MAX)),
            Err(Fault::Copy(_))
        ));
        let half = bytes.len() / 2;
        bytes.truncate(half);
        fs::write(&packed, &bytes).unwrap();
        fs::remove_file(&out).unwrap();
        assert!(matches!(pour(&packed, Packing::Gzip, &out, None, pace(u64::MAX)), Err(Fault::Copy(_))));
        let gone = pour(&folder.path().join("gone"), Packing::Gzip, &out, Some(9), pace(9));
        assert!(matches!(gone, Err(Fault::Here(_))));
    }

    #[test]
    fn a_copy_that_nobody_waits_for_stops() {
        let mut pace = pace(u64::MAX);
        drop(Leash(Arc::clone(&pace.stop)));
        assert!(pace.moved(1).is_err());
    }
}
