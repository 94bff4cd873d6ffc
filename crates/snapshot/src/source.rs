//! Where the bytes of a database come from: positioned reads, so that many readers can share one file.

use std::fs::File;
use std::io;

/// Reads at a place, without a cursor of its own.
pub trait ReadAt {
    /// Reads some bytes at `offset`; 0 means that the source ends there.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// In bytes.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.as_slice().length()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }
}

/// Fills as much of `buffer` as there is at `offset`, and says how much that was.
pub fn read_up_to(source: &(impl ReadAt + ?Sized), buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Appends `bytes`, in pieces that a libc copies by registers. Longer ones glibc leaves to `rep movsb`, which some
/// processors (AMD's EPYC among them) do at a quarter of the speed where the target is not aligned as the source is.
pub fn append(target: &mut Vec<u8>, bytes: &[u8]) {
    target.reserve(bytes.len());
    for piece in bytes.chunks(1 << 10) {
        target.extend_from_slice(piece);
    }
}

/// The longest single read ahead, in bytes.
const LONGEST: usize = 128 << 10;
/// The shortest, in bytes: where pages lie scattered nothing is gained by more.
const SHORTEST: usize = 4 << 10;

/// A stretch of the source, read ahead for as long as the reads go forward. Never longer than the longest
/// page that was asked for, or 128 KiB.
#[derive(Debug, Default)]
pub struct Window {
    start: u64,
    bytes: Vec<u8>,
    ahead: usize,
}

impl Window {
    /// The bytes at `offset`: `length` of them, or fewer where the source ends.
    pub fn get(&mut self, source: &(impl ReadAt + ?Sized), offset: u64, length: usize) -> io::Result<&[u8]> {
        let held = |window: &Self| {
            let skip = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            (skip.checked_add(length)? <= window.bytes.len()).then_some(skip)
        };
        if let Some(skip) = held(self) {
            return Ok(&self.bytes[skip..skip + length]);
        }
        let end = self.start + self.bytes.len() as u64;
        let forward = offset >= self.start && offset <= end + self.ahead as u64;
        self.ahead =
            if forward { (self.ahead * 2).clamp(SHORTEST, LONGEST) } else { (self.ahead / 4).max(SHORTEST) };
        self.bytes.resize(self.ahead.max(length), 0);
        self.start = offset;
        match read_up_to(source, &mut self.bytes, offset) {
            Ok(read) => self.bytes.truncate(read),
            Err(error) => {
                self.bytes.clear();
                return Err(error);
            }
        }
        Ok(&self.bytes[..length.min(self.bytes.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_gives_what_the_source_holds_in_any_order() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| ((n * 7) >> 3) as u8).collect();
        let mut window = Window::default();
        for (offset, length) in [(0, 10), (5, 4096), (4096, 4096), (100_000, 70_000), (3, 9), (199_990, 100)]
        {
            let wanted = &bytes[offset..(offset + length).min(bytes.len())];
            assert_eq!(window.get(&bytes, offset as u64, length).unwrap(), wanted, "{offset} {length}");
        }
        assert!(window.get(&bytes, u64::MAX, 5).unwrap().is_empty());
    }
}
