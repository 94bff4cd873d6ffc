//! A file that is hashed as it is written.

use std::fs::File;
use std::io::{self, Write};

use nightshift_core::digest::{Digest, Hasher};

use crate::sync::sync_file;

pub struct HashedFile {
    file: File,
    hasher: Hasher,
    size: u64,
}

impl HashedFile {
    /// Of a fresh file, of which nothing is written yet.
    pub fn new(file: File) -> Self {
        Self { file, hasher: Hasher::default(), size: 0 }
    }

    /// Syncs it to disk, and gives its size in bytes and its hash.
    pub fn finish(self) -> io::Result<(u64, Digest)> {
        sync_file(&self.file)?;
        Ok((self.size, self.hasher.finish()))
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
