//! The blocking half of a snapshot: checks the stream, compresses it, and writes it to disk.

use std::io::{self, BufRead, Read, Write};

use bytes::{Buf as _, Bytes};
use nightshift_core::digest::{HashedWriter, Written};
use nightshift_core::settings::Compression;
use nightshift_snapshot::{Pass, Report};
use nightshift_store::pieces::read_ready;
use nightshift_store::{SetFile, gzip, sync_file};
use tokio::sync::mpsc;

/// etcd itself needs a core while it streams, and a small master has no others to spare.
const WORKERS: usize = 2;
/// The cheapest level with dynamic codes. Measured: level 1 of zlib-rs gives files half as large again; level 6 gives files
/// smaller by a tenth, in nearly twice the time.
const GZIP_LEVEL: u32 = 2;
/// Faster than etcd streams. Levels 2 and 3 cost more and gain nothing on a database's pages.
const ZSTD_LEVEL: i32 = 1;

/// A piece of the stream. If the channel closes without `End`, the stream was aborted.
#[derive(Debug)]
pub enum Piece {
    Blob(Bytes),
    End,
}

/// The stored file, synced.
#[derive(Debug)]
pub struct Stored {
    pub report: Report,
    pub written: Written,
}

/// Writes `pieces` to `file`. Ends early, and leaves what it has written, if the sender is dropped.
pub fn store(pieces: mpsc::Receiver<Piece>, file: SetFile, compression: Compression) -> io::Result<Stored> {
    let mut input = Checked { pieces, pass: Pass::default(), current: Bytes::new(), ended: false };
    let mut output = HashedWriter::new(file);
    compress(&mut input, &mut output, compression)?;
    let (file, written) = output.finish();
    sync_file(file.as_ref())?;
    Ok(Stored { report: input.pass.finish(), written })
}

/// Compresses large data of etcd's.
pub fn compress(
    input: &mut impl BufRead,
    output: &mut impl Write,
    compression: Compression,
) -> io::Result<()> {
    match compression {
        Compression::Gzip => gzip::compress(input, output, GZIP_LEVEL, WORKERS),
        Compression::Zstd => zstd(input, output),
    }
}

fn zstd(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.multithread(WORKERS as u32)?;
    loop {
        let ready = input.fill_buf()?;
        if ready.is_empty() {
            break;
        }
        encoder.write_all(ready)?;
        let taken = ready.len();
        input.consume(taken);
    }
    encoder.finish().map(drop)
}

/// The stream as a reader: every byte is checked before it is compressed.
struct Checked {
    pieces: mpsc::Receiver<Piece>,
    pass: Pass,
    current: Bytes,
    ended: bool,
}

impl BufRead for Checked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Blob(blob)) => {
                    self.pass.update(&blob);
                    self.current = blob;
                }
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream was aborted")),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_ready(self, buffer)
    }
}
