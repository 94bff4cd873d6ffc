//! What comes in pieces over a channel, as a blocking reader sees it.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

/// The end of the channel is the end of what is read.
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

/// Reads what is ready, for whoever has a buffer of its own already.
pub fn read_ready(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let ready = input.fill_buf()?;
    let taken = ready.len().min(buffer.len());
    buffer[..taken].copy_from_slice(&ready[..taken]);
    input.consume(taken);
    Ok(taken)
}
