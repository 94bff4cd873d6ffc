//! The request, its bytes, and the replies.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::time::{Duration, Instant};

use nightshift_core::restore::act::{FORMAT, MAX_REQUEST, Reply, Request};
use nightshift_core::text::InvalidJson;
use serde::Deserialize;

use super::error::TargetError;

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The input and output of one call. Reading from it reads the request's bytes, and reports progress.
pub struct Exchange<'a> {
    input: BufReader<&'a mut dyn Read>,
    output: &'a mut dyn Write,
    read: u64,
    reported: Instant,
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl<'a> Exchange<'a> {
    pub fn new(input: &'a mut dyn Read, output: &'a mut dyn Write) -> Self {
        Self { input: BufReader::new(input), output, read: 0, reported: Instant::now() }
    }

    pub fn request(&mut self) -> Result<Request, TargetError> {
        let mut line = Vec::new();
        self.input.by_ref().take(MAX_REQUEST + 1).read_until(b'\n', &mut line).map_err(TargetError::Read)?;
        if line.len() as u64 > MAX_REQUEST {
            return Err(TargetError::refused(format!("the request has more than {MAX_REQUEST} bytes")));
        }
        let invalid = |error: serde_json::Error| TargetError::Request(InvalidJson::from(error));
        let Versioned { format } = serde_json::from_slice(&line).map_err(invalid)?;
        if format != FORMAT {
            return Err(TargetError::Format(format));
        }
        serde_json::from_slice(&line).map_err(invalid)
    }

    /// Writes a line. A client that is gone does not end the act.
    pub fn reply(&mut self, reply: &Reply) {
        let written = serde_json::to_writer(&mut *self.output, reply).map_err(io::Error::from);
        let _client_is_gone =
            written.and_then(|()| self.output.write_all(b"\n")).and_then(|()| self.output.flush());
    }

    /// Reads bytes that are not needed.
    pub fn skip(&mut self, size: u64) -> Result<(), TargetError> {
        let skipped = io::copy(&mut self.by_ref().take(size), &mut io::sink()).map_err(TargetError::Read)?;
        if skipped < size { Err(short(size - skipped)) } else { Ok(()) }
    }

    /// Refuses bytes after the last one that the request announced.
    pub fn end(&mut self) -> Result<(), TargetError> {
        let rest = self.input.fill_buf().map_err(TargetError::Read)?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(TargetError::refused("more bytes follow than the request announced"))
        }
    }
}

/// The input ended too early, as if the connection was lost.
pub fn short(missing: u64) -> TargetError {
    TargetError::refused(format!("the input ended {missing} bytes too early; repeat the step"))
}

impl Read for Exchange<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read += read as u64;
        if self.reported.elapsed() >= PROGRESS_INTERVAL {
            self.reported = Instant::now();
            self.reply(&Reply::Progress { bytes: self.read });
        }
        Ok(read)
    }
}
