//! The protocol between the daemon and the helper: the daemon sends one line, the helper responds with frames.
//!
//! A frame is its kind (one byte), its length (four bytes, big endian), and its content: a reply in JSON, or data.

use std::io::{self, BufRead as _, BufWriter, Read, Write};

use nightshift_core::digest::{Digest, HashedWriter};
use nightshift_core::night::Night;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The maximum number of bytes of data in one frame.
pub const MAX_DATA_LEN: usize = 256 << 10;
const MAX_REPLY_LEN: usize = 16 << 10;
const MAX_REQUEST_LEN: u64 = 4 << 10;
const REPLY: u8 = b'w';
const DATA: u8 = b'd';

/// The daemon's request. Everything else that matters is read from root's own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub night: Night,
    /// Of etcd, in hexadecimal, as the member reported it to the daemon.
    pub cluster_id: String,
}

/// The helper's replies, in this order: one of the first three, or `stopped`, data, `copied`, and one of the last two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case")]
pub enum HelperReply {
    /// Another member is stopped tonight.
    NotMyTurn { member: String },
    /// Another cold copy is running, on this or another host.
    Busy { reason: String },
    /// No member was stopped.
    Refused { reason: String },
    /// The member is stopped; its data follows.
    Stopped { member: String, how: String },
    /// All data was sent: a tar of so many bytes.
    Copied { bytes: u64, sha256: Digest },
    /// The member is healthy again.
    Done { stopped_ms: u64 },
    /// The member was stopped, and then something failed.
    Failed { reason: String },
}

#[derive(Debug)]
pub enum Frame {
    Reply(HelperReply),
    Data(Vec<u8>),
}

pub fn read_request(socket: impl Read) -> io::Result<Request> {
    let mut line = Vec::new();
    io::BufReader::new(socket.take(MAX_REQUEST_LEN)).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(invalid("the request is not one line"));
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}

pub fn encode_request(request: &Request) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    Ok(line)
}

/// The next frame; `None` if the helper closed the connection between two frames.
pub async fn read_frame(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut kind = [0];
    if socket.read(&mut kind).await? == 0 {
        return Ok(None);
    }
    let length = usize::try_from(socket.read_u32().await?).unwrap_or(usize::MAX);
    let max = match kind {
        [REPLY] => MAX_REPLY_LEN,
        [DATA] => MAX_DATA_LEN,
        _ => return Err(invalid("a frame of an unknown kind")),
    };
    if length > max {
        return Err(invalid("a frame that is too long"));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes).await?;
    Ok(Some(match kind {
        [REPLY] => Frame::Reply(serde_json::from_slice(&bytes)?),
        _ => Frame::Data(bytes),
    }))
}

pub fn write_reply(socket: &mut impl Write, reply: &HelperReply) -> io::Result<()> {
    let mut reply = reply.clone();
    if let HelperReply::Refused { reason } | HelperReply::Failed { reason } | HelperReply::Busy { reason } =
        &mut reply
    {
        // In JSON a character takes up to 6 bytes.
        *reason = reason.chars().take(MAX_REPLY_LEN / 8).collect();
    }
    write_frame(socket, REPLY, &serde_json::to_vec(&reply)?)
}

fn write_frame(socket: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&length.to_be_bytes());
    socket.write_all(&head)?;
    socket.write_all(bytes)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Sends what is written to it in frames of data, and hashes it.
pub type DataWriter<W> = HashedWriter<BufWriter<FrameWriter<W>>>;

pub fn data_writer<W: Write>(socket: W) -> DataWriter<W> {
    HashedWriter::new(BufWriter::with_capacity(MAX_DATA_LEN, FrameWriter(socket)))
}

/// Sends the rest, and returns the reply with what was sent in all.
pub fn finish_data<W: Write>(data: DataWriter<W>) -> io::Result<HelperReply> {
    let (mut buffered, sent) = data.finish();
    buffered.flush()?;
    Ok(HelperReply::Copied { bytes: sent.size, sha256: sent.sha256 })
}

pub struct FrameWriter<W: Write>(W);

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(MAX_DATA_LEN);
        write_frame(&mut self.0, DATA, &bytes[..length])?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
    fn a_request_is_read_as_it_was_sent() {
        let line = encode_request(&request()).unwrap();
        assert_eq!(read_request(line.as_slice()).unwrap(), request());
    }

    #[test]
    fn invalid_and_endless_lines_are_refused() {
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
    async fn data_is_received_completely_and_with_its_hash() {
        let plain: Vec<u8> = (0..3 * MAX_DATA_LEN + 77).map(|n| (n % 251) as u8).collect();
        let mut wire = Vec::new();
        let mut data = data_writer(&mut wire);
        data.write_all(&plain).unwrap();
        let copied = finish_data(data).unwrap();
        write_reply(&mut wire, &copied).unwrap();

        let mut wire = wire.as_slice();
        let mut read = Vec::new();
        while let Some(frame) = read_frame(&mut wire).await.unwrap() {
            match frame {
                Frame::Data(bytes) => read.extend(bytes),
                Frame::Reply(reply) => {
                    assert_eq!(
                        reply,
                        HelperReply::Copied { bytes: plain.len() as u64, sha256: Digest::of(&plain) }
                    );
                }
            }
        }
        assert!(read == plain);
    }

    #[tokio::test]
    async fn hostile_frames_are_refused_before_memory_is_allocated_for_them() {
        let longest = u32::MAX.to_be_bytes();
        let huge = [&b"d"[..], &longest].concat();
        let huge_reply = [&b"w"[..], &longest].concat();
        let unknown = b"x\0\0\0\0".to_vec();
        let no_json = b"w\0\0\0\x02no".to_vec();
        let cut_head = b"d\0\0".to_vec();
        let cut_short = b"d\0\0\0\x09only".to_vec();
        for bytes in [huge, huge_reply, unknown, no_json, cut_head, cut_short] {
            assert!(read_frame(&mut bytes.as_slice()).await.is_err(), "{bytes:?}");
        }
        assert!(read_frame(&mut &b""[..]).await.unwrap().is_none());
    }

    #[test]
    fn a_very_long_reason_is_cut_to_fit_its_frame() {
        let mut wire = Vec::new();
        write_reply(&mut wire, &HelperReply::Failed { reason: "\u{1}".repeat(1 << 20) }).unwrap();
        assert!(wire.len() <= MAX_REPLY_LEN + 5, "{}", wire.len());
    }
}
