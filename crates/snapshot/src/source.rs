//! The source of a database's bytes: positioned reads, so that several readers can share one file.

use std::fs::File;
use std::io;

/// Reads at a position, without its own cursor.
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

/// Reads at `offset` until `buffer` is full or the source ends. Returns the number of bytes read.
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

/// Appends `bytes` in small pieces, which glibc copies with registers. Larger pieces it copies with `rep movsb`, which on some
/// processors (such as AMD EPYC) has a quarter of the speed if target and source are aligned differently.
pub fn append(target: &mut Vec<u8>, bytes: &[u8]) {
    target.reserve(bytes.len());
    for piece in bytes.chunks(1 << 10) {
        target.extend_from_slice(piece);
    }
}

/// The maximum read-ahead in bytes.
const MAX_READ_AHEAD: usize = 128 << 10;
/// The minimum read-ahead in bytes, for scattered pages.
const MIN_READ_AHEAD: usize = 4 << 10;

/// A part of the source. The read-ahead grows while the reads go forward. The window is never longer than 128 KiB or the longest
/// requested page.
#[derive(Debug, Default)]
pub struct Window {
    start: u64,
    bytes: Vec<u8>,
    ahead: usize,
}

impl Window {
    /// `length` bytes at `offset`, or fewer at the end of the source.
    pub fn get(&mut self, source: &(impl ReadAt + ?Sized), offset: u64, length: usize) -> io::Result<&[u8]> {
        let buffered = |window: &Self| {
            let skip = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            (skip.checked_add(length)? <= window.bytes.len()).then_some(skip)
        };
        if let Some(skip) = buffered(self) {
            return Ok(&self.bytes[skip..skip + length]);
        }
        let end = self.start + self.bytes.len() as u64;
        let forward = offset >= self.start && offset <= end + self.ahead as u64;
        self.ahead = if forward {
            (self.ahead * 2).clamp(MIN_READ_AHEAD, MAX_READ_AHEAD)
        } else {
            (self.ahead / 4).max(MIN_READ_AHEAD)
        };
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
    fn a_window_returns_the_sources_bytes_in_any_order_of_reads() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| ((n * 7) >> 3) as u8).collect();
        let mut window = Window::default();
        for (offset, length) in [(0, 10), (5, 4096), (4096, 4096), (100_000, 70_000), (3, 9), (199_990, 100)]
        {
            let expected = &bytes[offset..(offset + length).min(bytes.len())];
            assert_eq!(window.get(&bytes, offset as u64, length).unwrap(), expected, "{offset} {length}");
        }
        assert!(window.get(&bytes, u64::MAX, 5).unwrap().is_empty());
    }
}
