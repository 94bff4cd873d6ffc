//! What the daemon and the helper say to each other: one line asks, frames answer.
//!
//! A frame is its kind, its length in four bytes, big end first, and so many bytes: words in JSON, or data.

use std::io::{self, BufRead as _, Read, Write};

use nightshift_core::digest::{Digest, Hasher};
use nightshift_core::night::Night;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Of data in one frame.
pub const PIECE: usize = 256 << 10;
const MOST_WORDS: usize = 16 << 10;
const LONGEST_REQUEST: u64 = 4 << 10;
const WORDS: u8 = b'w';
const DATA: u8 = b'd';

/// What the daemon asks. All else that matters is read from root's own config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub night: Night,
    /// Of etcd, in hexadecimal, as the daemon saw it.
    pub cluster_id: String,
}

/// What the helper says, in this order: one of the first three, or `stopped`, data, `copied`, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case")]
pub enum Said {
    /// Another member is stopped tonight.
    NotMyTurn { member: String },
    /// Another cold copy is being taken, here or elsewhere.
    Busy { reason: String },
    /// Nothing was stopped.
    Refused { reason: String },
    /// The member is stopped; its data follows.
    Stopped { member: String, how: String },
    /// All data was sent: a tar of so many bytes.
    Copied { bytes: u64, sha256: Digest },
    /// The member was seen healthy again.
    Done { stopped_ms: u64 },
    /// It was stopped, and something went wrong since.
    Failed { reason: String },
}

#[derive(Debug)]
pub enum Frame {
    Said(Said),
    Data(Vec<u8>),
}

/// Reads the one line that asks.
pub fn read_request(socket: impl Read) -> io::Result<Request> {
    let mut line = Vec::new();
    io::BufReader::new(socket.take(LONGEST_REQUEST)).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(bad("it asks nothing, in one line"));
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}

pub fn encode_request(request: &Request) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    Ok(line)
}

/// The next frame; `None` where the helper hung up between two.
pub async fn read_frame(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut kind = [0];
    if socket.read(&mut kind).await? == 0 {
        return Ok(None);
    }
    let length = usize::try_from(socket.read_u32().await?).unwrap_or(usize::MAX);
    let most = match kind {
        [WORDS] => MOST_WORDS,
        [DATA] => PIECE,
        _ => return Err(bad("a frame of no known kind")),
    };
    if length > most {
        return Err(bad("a frame longer than any may be"));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes).await?;
    Ok(Some(match kind {
        [WORDS] => Frame::Said(serde_json::from_slice(&bytes)?),
        _ => Frame::Data(bytes),
    }))
}

pub fn say(socket: &mut impl Write, said: &Said) -> io::Result<()> {
    let mut said = said.clone();
    if let Said::Refused { reason } | Said::Failed { reason } | Said::Busy { reason } = &mut said {
        *reason = reason.chars().take(MOST_WORDS / 8).collect();
    }
    write_frame(socket, WORDS, &serde_json::to_vec(&said)?)
}

fn write_frame(socket: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&length.to_be_bytes());
    socket.write_all(&head)?;
    socket.write_all(bytes)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Sends what is written to it as data, and hashes it.
pub struct DataWriter<W> {
    socket: W,
    pending: Vec<u8>,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> DataWriter<W> {
    pub fn new(socket: W) -> Self {
        Self { socket, pending: Vec::with_capacity(PIECE), hasher: Hasher::default(), bytes: 0 }
    }

    /// Sends what is left, and says what was sent in all.
    pub fn finish(mut self) -> io::Result<Said> {
        self.send()?;
        Ok(Said::Copied { bytes: self.bytes, sha256: self.hasher.finish() })
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.hasher.update(&self.pending);
            self.bytes += self.pending.len() as u64;
            write_frame(&mut self.socket, DATA, &self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

impl<W: Write> Write for DataWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request() -> Request {
        Request { night: "2026-11-22".parse().unwrap(), cluster_id: "cdf818194e3a8c32".into() }
    }

    #[test]
    fn a_request_is_read_as_it_was_asked() {
        let line = encode_request(&request()).unwrap();
        assert_eq!(read_request(line.as_slice()).unwrap(), request());
    }

    #[test]
    fn nonsense_and_endless_lines_are_no_requests() {
        let endless = vec![b'x'; 1 << 20];
        let night = br#"{"night":"../../etc","cluster_id":"1"}
"#;
        for bytes in
            [&b""[..], b"\n", b"{}\n", br#"{"night":"2026-11-22","cluster_id":"1"}"#, night, &endless]
        {
            assert!(read_request(bytes).is_err());
        }
    }

    #[tokio::test]
    async fn what_is_sent_in_frames_comes_out_whole_and_with_its_hash() {
        let plain: Vec<u8> = (0..3 * PIECE + 77).map(|n| (n % 251) as u8).collect();
        let mut wire = Vec::new();
        let mut data = DataWriter::new(&mut wire);
        data.write_all(&plain).unwrap();
        let copied = data.finish().unwrap();
        say(&mut wire, &copied).unwrap();

        let mut wire = wire.as_slice();
        let mut read = Vec::new();
        while let Some(frame) = read_frame(&mut wire).await.unwrap() {
            match frame {
                Frame::Data(bytes) => read.extend(bytes),
                Frame::Said(said) => {
                    assert_eq!(said, Said::Copied { bytes: plain.len() as u64, sha256: Digest::of(&plain) });
                }
            }
        }
        assert!(read == plain);
    }

    #[tokio::test]
    async fn hostile_frames_are_refused_before_anything_is_taken_for_them() {
        let longest = u32::MAX.to_be_bytes();
        let huge = [&b"d"[..], &longest].concat();
        let huge_words = [&b"w"[..], &longest].concat();
        let unknown = b"x\0\0\0\0".to_vec();
        let no_json = b"w\0\0\0\x02no".to_vec();
        let cut_head = b"d\0\0".to_vec();
        let cut_short = b"d\0\0\0\x09only".to_vec();
        for bytes in [huge, huge_words, unknown, no_json, cut_head, cut_short] {
            assert!(read_frame(&mut bytes.as_slice()).await.is_err(), "{bytes:?}");
        }
        assert!(read_frame(&mut &b""[..]).await.unwrap().is_none());
    }

    #[test]
    fn a_reason_without_end_still_fits_its_frame() {
        let mut wire = Vec::new();
        say(&mut wire, &Said::Failed { reason: "\u{1}".repeat(1 << 20) }).unwrap();
        assert!(wire.len() <= MOST_WORDS + 5, "{}", wire.len());
    }
}
