//! The 32 bytes at the end of a snapshot: the SHA-256 of everything before them.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::source::{ReadAt, read_up_to};

pub const TRAILER_LEN: usize = 32;
/// How much of a file is hashed at a time, in bytes.
const STRETCH: usize = 128 << 10;

/// What the end of a snapshot says about the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailer {
    /// It is the SHA-256 of all that precedes it.
    Matches,
    /// There are 32 bytes too many for whole pages, but they are not the SHA-256 of the rest.
    Wrong,
    /// The length is that of whole pages: a copied file, or a stream that was cut off.
    Absent,
}

/// Checks the trailer while the snapshot streams by.
#[derive(Debug, Clone, Default)]
pub struct TrailerCheck {
    body: Sha256,
    /// The last bytes seen, which may turn out to be the trailer.
    held: Vec<u8>,
    length: u64,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    pub trailer: Trailer,
    /// In bytes, the trailer included.
    pub length: u64,
    /// The SHA-256 of every byte, as `sha256sum` prints it.
    pub sha256: [u8; 32],
}

impl Ending {
    /// Hashes all that is there.
    pub fn of(source: &impl ReadAt) -> io::Result<Self> {
        let mut check = TrailerCheck::default();
        let stretch = usize::try_from(source.length()?).unwrap_or(STRETCH).clamp(1, STRETCH);
        let mut buffer = vec![0; stretch];
        let mut offset = 0;
        loop {
            match read_up_to(source, &mut buffer, offset)? {
                0 => return Ok(check.finish()),
                read => check.update(&buffer[..read]),
            }
            offset += stretch as u64;
        }
    }
}

impl TrailerCheck {
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        // Everything but the newest 32 bytes is body for certain.
        let certain = (self.held.len() + bytes.len()).saturating_sub(TRAILER_LEN);
        let from_held = certain.min(self.held.len());
        self.body.update(&self.held[..from_held]);
        self.held.drain(..from_held);
        let from_bytes = certain - from_held;
        self.body.update(&bytes[..from_bytes]);
        self.held.extend_from_slice(&bytes[from_bytes..]);
    }

    pub fn finish(self) -> Ending {
        let Self { body, held, length } = self;
        let mut all = body.clone();
        all.update(&held);
        // The same test as etcdctl's (client/v3/snapshot, hasChecksum): pages are multiples of 512 bytes.
        let trailer = if length % 512 != TRAILER_LEN as u64 {
            Trailer::Absent
        } else if body.finalize().as_slice() == held {
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
    fn the_trailer_is_found_however_the_stream_is_cut_into_chunks() {
        let bytes = snapshot();
        for chunk in [1, 7, 31, 32, 33, 512, 4096, 5000] {
            let ending = check(&bytes, chunk);
            assert_eq!(ending.trailer, Trailer::Matches, "{chunk}");
            assert_eq!(ending.sha256.as_slice(), Sha256::digest(&bytes).as_slice());
            assert_eq!(ending.length, 4128);
        }
    }

    #[test]
    fn any_flipped_byte_is_found() {
        let good = snapshot();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(check(&bad, 1000).trailer, Trailer::Wrong, "byte {at}");
        }
    }

    #[test]
    fn a_snapshot_that_was_cut_off_has_no_trailer() {
        let good = snapshot();
        assert_eq!(check(&good[..4096], 512).trailer, Trailer::Absent);
        assert_eq!(check(&good[..4100], 512).trailer, Trailer::Absent);
        assert_eq!(check(&[], 1).trailer, Trailer::Absent);
    }
}
