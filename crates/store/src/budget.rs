//! What one set may use of the vault's file system. Every writer of the set draws from its budget, so that a sparse file, a file
//! that grows while it is read or a peer that sends more than it announced cannot fill the disk. Sets that are written at the same
//! time share the free space: none of them gets what another one has reserved.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::fault::StoreError;
use crate::space::{Amount, SpaceError, check};

/// What the sets in progress have reserved in a vault. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Reservations {
    sets: Arc<Mutex<Vec<Weak<Share>>>>,
}

/// The space of one set. Clones share it; it is free again when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Budget {
    share: Arc<Share>,
}

#[derive(Debug)]
struct Share {
    state: Mutex<State>,
    /// `None` for a budget that cannot grow.
    source: Option<Source>,
}

#[derive(Debug)]
struct State {
    /// Not written yet.
    reserved: Amount,
    /// What may still be reserved.
    unreserved: Amount,
    max: Amount,
}

/// Where more space is reserved.
#[derive(Debug)]
struct Source {
    reservations: Reservations,
    root: PathBuf,
    /// Bytes that stay free.
    leave: u64,
}

impl Reservations {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Share>>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn total(&self) -> Amount {
        sum(self.lock().iter().filter_map(Weak::upgrade))
    }
}

fn sum(shares: impl Iterator<Item = Arc<Share>>) -> Amount {
    shares.fold(Amount::default(), |sum, share| sum.plus(share.state().reserved))
}

impl Budget {
    /// The budget of a set of at most `max` in the vault at `root`, which leaves so many bytes free. Nothing is reserved yet.
    pub(crate) fn new(root: &Path, reservations: &Reservations, leave: u64, max: Amount) -> Self {
        let source = Source { reservations: reservations.clone(), root: root.to_owned(), leave };
        let budget = Self::with(Amount::default(), max, Some(source));
        let mut sets = reservations.lock();
        sets.retain(|set| set.strong_count() > 0);
        sets.push(Arc::downgrade(&budget.share));
        budget
    }

    fn with(reserved: Amount, max: Amount, source: Option<Source>) -> Self {
        let state = Mutex::new(State { reserved, unreserved: max, max });
        Self { share: Arc::new(Share { state, source }) }
    }

    /// A budget that is reserved nowhere and cannot grow.
    pub(crate) fn fixed(amount: Amount) -> Self {
        Self::with(amount, Amount::default(), None)
    }

    pub(crate) fn unlimited() -> Self {
        Self::fixed(Amount::MAX)
    }

    /// Makes sure that so much is reserved for what the set writes next. More is reserved when it is needed.
    pub fn reserve(&self, bytes: u64, inodes: u64) -> Result<(), SpaceError> {
        self.share.reserve_then(Amount { bytes, inodes }, |_| {})
    }

    /// Counts as used what another program wrote into the set.
    pub fn draw(&self, bytes: u64, inodes: u64) -> Result<(), SpaceError> {
        let amount = Amount { bytes, inodes };
        self.share.reserve_then(amount, |reserved| *reserved = reserved.minus(amount))
    }

    /// A file of so many bytes was removed again.
    pub(crate) fn give_back(&self, bytes: u64) {
        let mut state = self.share.state();
        state.reserved = state.reserved.plus(Amount { bytes, inodes: 0 });
    }
}

impl Share {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves what is missing of the amount, and changes what is reserved in the same step.
    fn reserve_then(&self, wanted: Amount, then: impl FnOnce(&mut Amount)) -> Result<(), SpaceError> {
        let mut state = self.state();
        if state.reserved.covers(wanted) {
            then(&mut state.reserved);
            return Ok(());
        }
        // The list of all sets is locked before any of them, always.
        drop(state);
        let sets = self.source.as_ref().map(|source| source.reservations.lock());
        let others = sets.iter().flat_map(|sets| sets.iter()).filter_map(Weak::upgrade);
        let others = sum(others.filter(|set| !std::ptr::eq(&raw const **set, self)));
        let mut state = self.state();
        let more = wanted.minus(state.reserved);
        let (Some(source), true) = (&self.source, state.unreserved.covers(more)) else {
            return Err(SpaceError::TooLarge(state.max));
        };
        check(&source.root, state.reserved.plus(more), source.leave, others)?;
        state.unreserved = state.unreserved.minus(more);
        state.reserved = state.reserved.plus(more);
        then(&mut state.reserved);
        Ok(())
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
        self.budget.draw(bytes.len() as u64, 0)?;
        let written = self.file.write(bytes);
        self.budget.give_back(bytes.len() as u64 - written.as_ref().map_or(0, |written| *written as u64));
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SpaceError {
    /// Whether a file of a set was not written because of the set's budget.
    pub fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }

    /// As `is_cause_of`, of an error with its path.
    pub fn is_cause_of_store(error: &StoreError) -> bool {
        matches!(error, StoreError::Io { source, .. } if Self::is_cause_of(source))
    }
}

impl From<SpaceError> for io::Error {
    fn from(error: SpaceError) -> Self {
        Self::new(io::ErrorKind::QuotaExceeded, error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::space::room;

    #[test]
    fn all_files_of_a_set_draw_from_one_budget_and_a_removed_one_gives_back() {
        let budget = Budget::fixed(Amount { bytes: 10, inodes: 2 });
        let mut files: Vec<SetFile> =
            (0..2).map(|_| SetFile::new(tempfile::tempfile().unwrap(), budget.clone())).collect();
        files[0].write_all(b"123456").unwrap();
        let error = files[1].write_all(b"12345").unwrap_err();
        assert!(SpaceError::is_cause_of(&error), "{error}");
        assert_eq!(files[1].as_ref().metadata().unwrap().len(), 0, "nothing of it was written");
        files[1].write_all(b"1234").unwrap();
        budget.give_back(6);
        budget.reserve(6, 2).unwrap();
        budget.reserve(7, 0).unwrap_err();
        budget.draw(0, 2).unwrap();
        budget.draw(0, 1).unwrap_err();
    }

    #[test]
    fn sets_that_are_written_at_the_same_time_do_not_get_the_same_free_space() {
        let dir = tempfile::tempdir().unwrap();
        let reserved = Reservations::default();
        let budget = || Budget::new(dir.path(), &reserved.clone(), 0, Amount::MAX);
        let most = room(dir.path()).unwrap().free / 5 * 3;
        let (first, second) = (budget(), budget());
        first.reserve(most, 1).unwrap();
        let refused = second.reserve(most, 1).unwrap_err();
        assert!(refused.to_string().contains("reserved for other sets"), "{refused}");
        second.reserve(most / 2, 1).unwrap();
        drop(first);
        second.reserve(most, 1).unwrap();
    }

    #[test]
    fn a_set_that_was_to_be_small_may_grow_up_to_its_maximum_and_not_into_what_stays_free() {
        let dir = tempfile::tempdir().unwrap();
        let reserved = Reservations::default();
        let max = Amount { bytes: 100, inodes: 10 };
        let budget = Budget::new(dir.path(), &reserved, 0, max);
        budget.reserve(10, 1).unwrap();
        budget.draw(90, 1).unwrap();
        let refused = budget.draw(11, 0).unwrap_err();
        assert!(matches!(refused, SpaceError::TooLarge(of) if of == max), "{refused}");
        budget.draw(10, 0).unwrap();
        let full = Budget::new(dir.path(), &reserved, u64::MAX, max);
        assert!(matches!(full.draw(1, 0).unwrap_err(), SpaceError::Bytes { .. }));
    }
}
