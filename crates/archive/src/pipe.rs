//! A bounded pipe between two threads: the writer waits while the reader is behind.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How many pieces may wait; with pieces of 128 KiB the pipe holds 2 MiB.
const PIECES: usize = 16;

pub(crate) struct PipeWriter(SyncSender<Vec<u8>>);

pub(crate) struct PipeReader {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

/// The reader is gone.
pub(crate) struct Closed;

pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, pieces) = sync_channel(PIECES);
    (PipeWriter(sender), PipeReader { pieces, piece: Vec::new(), read: 0 })
}

impl PipeWriter {
    pub fn send(&self, bytes: &[u8]) -> Result<(), Closed> {
        self.0.send(bytes.to_vec()).map_err(|_| Closed)
    }
}

impl Read for PipeReader {
    /// Reads 0 bytes once the writer is gone.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() {
            let Ok(piece) = self.pieces.recv() else { return Ok(0) };
            (self.piece, self.read) = (piece, 0);
        }
        let length = buffer.len().min(self.piece.len() - self.read);
        buffer[..length].copy_from_slice(&self.piece[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}
