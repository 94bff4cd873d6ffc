//! The 32 bytes at the end of a snapshot: the SHA-256 of everything before them.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::source::{ReadAt, read_up_to};

pub const TRAILER_LEN: usize = 32;
/// How many bytes of a file are hashed at a time.
const CHUNK: usize = 128 << 10;

/// The result of checking the trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailer {
    /// It is the SHA-256 of everything before it.
    Matches,
    /// There are 32 bytes after the last page, but they are not the SHA-256 of the rest.
    Wrong,
    /// There are not 32 bytes after the last page: a copied file, or a truncated stream.
    Absent,
}

/// Checks the trailer while the snapshot is streamed.
#[derive(Debug, Clone, Default)]
pub struct TrailerCheck {
    body: Sha256,
    /// The last bytes so far, which may be the trailer.
    tail: Vec<u8>,
    length: u64,
}

/// The result at the end of a stream: trailer, length and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    pub trailer: Trailer,
    /// In bytes, including the trailer.
    pub length: u64,
    /// The SHA-256 of the whole file, as printed by `sha256sum`.
    pub sha256: [u8; 32],
}

impl Ending {
    /// Hashes the whole source.
    pub fn of(source: &impl ReadAt) -> io::Result<Self> {
        let mut check = TrailerCheck::default();
        let chunk = usize::try_from(source.length()?).unwrap_or(CHUNK).clamp(1, CHUNK);
        let mut buffer = vec![0; chunk];
        let mut offset = 0;
        loop {
            match read_up_to(source, &mut buffer, offset)? {
                0 => return Ok(check.finish()),
                read => check.update(&buffer[..read]),
            }
            offset += chunk as u64;
        }
    }
}

impl TrailerCheck {
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        // Everything except the newest 32 bytes is certainly not the trailer.
        let certain = (self.tail.len() + bytes.len()).saturating_sub(TRAILER_LEN);
        let from_tail = certain.min(self.tail.len());
        self.body.update(&self.tail[..from_tail]);
        self.tail.drain(..from_tail);
        let from_bytes = certain - from_tail;
        self.body.update(&bytes[..from_bytes]);
        self.tail.extend_from_slice(&bytes[from_bytes..]);
    }

    /// The bytes so far.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    pub fn finish(self) -> Ending {
        let Self { body, tail, length } = self;
        let mut all = body.clone();
        all.update(&tail);
        // The same test as in etcdctl (client/v3/snapshot, hasChecksum): pages are multiples of 512 bytes.
        let trailer = if length % 512 != TRAILER_LEN as u64 {
            Trailer::Absent
        } else if body.finalize().as_slice() == tail {
            Trailer::Matches
        } else {
            Trailer::Wrong
        };
        Ending { trailer, length, sha256: all.finalize().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..4096u32).map(|n| n.to_le_bytes()[0]).collect();
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    fn check(bytes: &[u8], chunk: usize) -> Ending {
        let mut check = TrailerCheck::default();
        bytes.chunks(chunk).for_each(|chunk| check.update(chunk));
        check.finish()
    }

    #[test]
    fn the_trailer_is_found_with_any_chunk_size() {
        let bytes = snapshot();
        for chunk in [1, 7, 31, 32, 33, 512, 4096, 5000] {
            let ending = check(&bytes, chunk);
            assert_eq!(ending.trailer, Trailer::Matches, "{chunk}");
            assert_eq!(ending.sha256.as_slice(), Sha256::digest(&bytes).as_slice());
            assert_eq!(ending.length, 4128);
        }
    }

    #[test]
    fn any_flipped_byte_is_detected() {
        let good = snapshot();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(check(&bad, 1000).trailer, Trailer::Wrong, "byte {at}");
        }
    }

    #[test]
    fn a_truncated_snapshot_has_no_trailer() {
        let good = snapshot();
        assert_eq!(check(&good[..4096], 512).trailer, Trailer::Absent);
        assert_eq!(check(&good[..4100], 512).trailer, Trailer::Absent);
        assert_eq!(check(&[], 1).trailer, Trailer::Absent);
    }
}
