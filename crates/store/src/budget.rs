//! What one set may use of the vault's file system. Every writer of the set draws from it, so that a sparse file, a file that
//! grows while it is read or a peer that sends more than it announced cannot fill the disk.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nightshift_core::units;

use crate::fault::StoreError;
use crate::space::{SpaceError, room};

/// Bytes and inodes that are left for a set. Clones share them.
#[derive(Debug, Clone)]
pub struct Budget {
    left: Arc<Left>,
}

#[derive(Debug)]
struct Left {
    bytes: AtomicU64,
    inodes: AtomicU64,
    whole: u64,
}

/// The set would become larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    #[error("the set would exceed {whole}, the space that is left for it", whole = units::bytes(*.0))]
    Bytes(u64),
    #[error("the set would need more inodes than are left for it")]
    Inodes,
}

impl Budget {
    /// What is free at `path` beyond `min_free` bytes, at most `ceiling`.
    pub fn of(path: &Path, min_free: u64, ceiling: Option<u64>) -> Result<Self, StoreError> {
        let room = room(path)?;
        let bytes = room.free.saturating_sub(min_free).min(ceiling.unwrap_or(u64::MAX));
        Ok(Self::new(bytes, room.inodes.unwrap_or(u64::MAX)))
    }

    pub fn new(bytes: u64, inodes: u64) -> Self {
        Self {
            left: Arc::new(Left {
                bytes: AtomicU64::new(bytes),
                inodes: AtomicU64::new(inodes),
                whole: bytes,
            }),
        }
    }

    pub fn unlimited() -> Self {
        Self::new(u64::MAX, u64::MAX)
    }

    /// Whether so much fits. Nothing is drawn.
    pub fn allows(&self, bytes: u64, inodes: u64) -> Result<(), Spent> {
        if self.left.bytes.load(Ordering::Relaxed) < bytes {
            return Err(Spent::Bytes(self.left.whole));
        }
        if self.left.inodes.load(Ordering::Relaxed) < inodes { Err(Spent::Inodes) } else { Ok(()) }
    }

    pub(crate) fn draw_bytes(&self, bytes: u64) -> Result<(), Spent> {
        draw(&self.left.bytes, bytes).map_err(|()| Spent::Bytes(self.left.whole))
    }

    pub(crate) fn draw_inodes(&self, inodes: u64) -> Result<(), Spent> {
        draw(&self.left.inodes, inodes).map_err(|()| Spent::Inodes)
    }

    /// A file of so many bytes was removed again.
    pub(crate) fn give_back(&self, bytes: u64) {
        let _ = self
            .left
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_add(bytes)));
    }
}

fn draw(left: &AtomicU64, amount: u64) -> Result<(), ()> {
    let drawn = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount));
    drawn.map(drop).map_err(drop)
}

impl Spent {
    /// Whether a write failed because of the set's budget, not because the disk is full.
    pub fn is_cause_of(error: &StoreError) -> bool {
        matches!(error, StoreError::Io { source, .. } if source.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some())
    }
}

impl From<Spent> for io::Error {
    fn from(spent: Spent) -> Self {
        Self::new(io::ErrorKind::QuotaExceeded, spent)
    }
}

impl From<Spent> for SpaceError {
    fn from(spent: Spent) -> Self {
        Self::Spent(spent)
    }
}

/// A file of a set that is being written.
#[derive(Debug)]
pub struct SetFile {
    file: File,
    budget: Budget,
}

impl SetFile {
    pub(crate) const fn new(file: File, budget: Budget) -> Self {
        Self { file, budget }
    }
}

impl AsRef<File> for SetFile {
    fn as_ref(&self) -> &File {
        &self.file
    }
}

/// A file that belongs to no set.
impl From<File> for SetFile {
    fn from(file: File) -> Self {
        Self::new(file, Budget::unlimited())
    }
}

impl Write for SetFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.budget.draw_bytes(bytes.len() as u64)?;
        let written = self.file.write(bytes);
        self.budget.give_back(bytes.len() as u64 - written.as_ref().map_or(0, |written| *written as u64));
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_set_draw_from_one_budget_and_a_removed_one_gives_back() {
        let budget = Budget::new(10, 2);
        let mut files: Vec<SetFile> =
            (0..2).map(|_| SetFile::new(tempfile::tempfile().unwrap(), budget.clone())).collect();
        files[0].write_all(b"123456").unwrap();
        let error = files[1].write_all(b"12345").unwrap_err();
        assert!(error.get_ref().unwrap().is::<Spent>(), "{error}");
        assert_eq!(files[1].as_ref().metadata().unwrap().len(), 0, "nothing of it was written");
        files[1].write_all(b"1234").unwrap();
        budget.give_back(6);
        assert_eq!((budget.allows(6, 2), budget.allows(7, 0)), (Ok(()), Err(Spent::Bytes(10))));
        budget.draw_inodes(2).unwrap();
        assert_eq!(budget.draw_inodes(1), Err(Spent::Inodes));
    }
}
