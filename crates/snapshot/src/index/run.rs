//! A sorted run of entries in an unnamed file.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::key_revision::{BODY, HEAD, KeyRevision};

const BUFFER: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Run(File);

pub(super) struct Writer(BufWriter<File>);

impl Writer {
    /// Writes one entry, encoded by `KeyRevision::encode`.
    pub fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(frame)
    }
}

impl Run {
    pub fn write(directory: &Path, write: impl FnOnce(&mut Writer) -> io::Result<()>) -> io::Result<Self> {
        let mut writer = Writer(BufWriter::with_capacity(BUFFER, tempfile::tempfile_in(directory)?));
        write(&mut writer)?;
        writer.0.into_inner().map(Self).map_err(io::IntoInnerError::into_error)
    }

    pub fn read(&self) -> Reader<'_> {
        Reader(BufReader::with_capacity(BUFFER, Positioned { file: &self.0, at: 0 }))
    }
}

/// Reads a run from its start; several readers can be used at the same time.
pub(super) struct Reader<'r>(BufReader<Positioned<'r>>);

impl Reader<'_> {
    pub fn next(&mut self) -> io::Result<Option<KeyRevision>> {
        if self.0.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut length = [0; HEAD];
        self.0.read_exact(&mut length)?;
        let mut entry = vec![0; u32::from_le_bytes(length) as usize + BODY];
        self.0.read_exact(&mut entry)?;
        Ok(KeyRevision::decode(entry))
    }
}

struct Positioned<'r> {
    file: &'r File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
