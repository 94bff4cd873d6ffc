//! A channel of byte buffers as a blocking reader.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// Reading ends when the sender is dropped.
#[derive(Debug)]
pub struct Pieces {
    queue: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Pieces {
    pub const fn new(queue: mpsc::Receiver<Bytes>) -> Self {
        Self { queue, current: Bytes::new() }
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.queue.blocking_recv() {
                Some(piece) => self.current = piece,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_ready(self, buffer)
    }
}

/// `read` for a reader that has a buffer of its own.
pub fn read_ready(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let ready = input.fill_buf()?;
    let taken = ready.len().min(buffer.len());
    buffer[..taken].copy_from_slice(&ready[..taken]);
    input.consume(taken);
    Ok(taken)
}
