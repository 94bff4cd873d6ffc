//! The responses of a server, with each status in the form of SFTP version 3: its code is one of that version, and its text is
//! UTF-8. russh-sftp ends the connection at any other status, and servers do send the codes of later drafts, texts in other
//! encodings, and no text at all.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use nightshift_core::text::{MAX_LEN, Text};
use russh_sftp::protocol::StatusCode;
use tokio::io::{AsyncRead, ReadBuf};

/// The types of the packets SSH_FXP_VERSION and SSH_FXP_STATUS (draft-ietf-secsh-filexfer-02, section 3).
const VERSION: u8 = 2;
/// The maximum size of a packet in bytes, as in OpenSSH.
pub(super) const MAX_PACKET: u32 = 256 * 1024;
const STATUS: u8 = 101;
/// The length and the type of a packet, in bytes.
const HEADER: usize = 5;
/// Bytes of a status.
const MAX_STATUS: usize = 64 * 1024;

/// The text that a server sent in place of SFTP, such as the output of a forced command; else empty.
#[derive(Clone, Default)]
pub(super) struct NotSftp(Arc<Mutex<String>>);

impl NotSftp {
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Text::new(text.trim()).to_string();
    }
}

pub(super) struct Responses<S> {
    stream: S,
    state: State,
    not_sftp: NotSftp,
}

enum State {
    /// As `Header`, for the first packet: a server begins with its version.
    First { bytes: [u8; HEADER], len: usize },
    /// Reads what is not SFTP.
    Text { bytes: Vec<u8>, len: usize },
    /// Reads until the packet's length and type are known.
    Header { bytes: [u8; HEADER], len: usize },
    /// Reads a status until it is whole.
    Status { packet: Vec<u8>, len: usize },
    /// Returns these bytes, then as many of the stream as they are.
    Ready { bytes: Vec<u8>, at: usize, rest: usize },
}

const NEXT_PACKET: State = State::Header { bytes: [0; HEADER], len: 0 };

impl<S> Responses<S> {
    pub fn new(stream: S) -> (Self, NotSftp) {
        let not_sftp = NotSftp::default();
        let state = State::First { bytes: [0; HEADER], len: 0 };
        (Self { stream, state, not_sftp: not_sftp.clone() }, not_sftp)
    }
}

impl<S: AsyncRead + Unpin> Responses<S> {
    /// Fills `into` up to `len`; returns false at the end of the stream.
    fn poll_fill(
        stream: &mut S,
        cx: &mut Context<'_>,
        into: &mut [u8],
        len: &mut usize,
    ) -> Poll<io::Result<bool>> {
        while *len < into.len() {
            let mut buf = ReadBuf::new(&mut into[*len..]);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => return Poll::Ready(Ok(false)),
                read => *len += read,
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Advances to the next bytes to return. The stream ended if there are none.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.state = match &mut self.state {
                State::Ready { bytes, at, rest } if *at == bytes.len() && *rest == 0 => NEXT_PACKET,
                State::Ready { .. } => return Poll::Ready(Ok(())),
                State::First { bytes, len } => {
                    let filled = Self::poll_fill(&mut self.stream, cx, bytes, len);
                    match is_version(bytes) {
                        true if *len == HEADER => after_header(*bytes),
                        _ if *len == HEADER || !matches!(filled, Poll::Pending) => {
                            State::text(&bytes[..*len])
                        }
                        _ => return filled.map_ok(drop),
                    }
                }
                State::Text { bytes, len } => {
                    let filled = Self::poll_fill(&mut self.stream, cx, bytes, len);
                    // A server that sends a prompt sends nothing more.
                    self.not_sftp.set(&bytes[..*len]);
                    ready!(filled)?;
                    return Poll::Ready(Ok(()));
                }
                State::Header { bytes, len } => {
                    if !ready!(Self::poll_fill(&mut self.stream, cx, bytes, len))? {
                        return Poll::Ready(Ok(()));
                    }
                    after_header(*bytes)
                }
                State::Status { packet, len } => {
                    if !ready!(Self::poll_fill(&mut self.stream, cx, packet, len))? {
                        return Poll::Ready(Ok(()));
                    }
                    State::Ready { bytes: in_version_3(packet), at: 0, rest: 0 }
                }
            };
        }
    }
}

impl State {
    fn text(read: &[u8]) -> Self {
        let mut bytes = vec![0; MAX_LEN];
        bytes[..read.len()].copy_from_slice(read);
        Self::Text { bytes, len: read.len() }
    }
}

fn packet_len(bytes: [u8; HEADER]) -> usize {
    let [a, b, c, d, _] = bytes;
    u32::from_be_bytes([a, b, c, d]) as usize
}

fn is_version(bytes: &[u8; HEADER]) -> bool {
    bytes[4] == VERSION && packet_len(*bytes) <= MAX_PACKET as usize
}

fn after_header(bytes: [u8; HEADER]) -> State {
    let len = packet_len(bytes);
    if bytes[4] == STATUS && (HEADER..MAX_STATUS).contains(&len) {
        let mut packet = vec![0; len + 4];
        packet[..HEADER].copy_from_slice(&bytes);
        return State::Status { packet, len: HEADER };
    }
    // The length includes the type. An empty packet is invalid, which russh-sftp reports.
    State::Ready { bytes: bytes.to_vec(), at: 0, rest: len.saturating_sub(1) }
}

/// A status with a code of version 3 and two texts in UTF-8; a status that is too short is not changed.
fn in_version_3(packet: &[u8]) -> Vec<u8> {
    let number = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    let Some(code) = number(HEADER + 4) else { return packet.to_vec() };
    let text = number(HEADER + 8).and_then(|len| packet.get(HEADER + 12..HEADER + 12 + len as usize));
    let text = String::from_utf8_lossy(text.unwrap_or_default());
    let text = Text::new(&text).to_string();
    let (code, text) = match meaning(code) {
        None => (code, text),
        Some((instead, meaning)) if text.is_empty() => (instead as u32, format!("{meaning} (status {code})")),
        Some((instead, meaning)) => (instead as u32, format!("{text}: {meaning} (status {code})")),
    };
    let mut body = packet[4..HEADER + 4].to_vec();
    body.extend_from_slice(&code.to_be_bytes());
    for text in [text.as_str(), ""] {
        body.extend_from_slice(&(text.len() as u32).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat()
}

/// For a code that version 3 does not have: the code to use instead, and what it means (draft-ietf-secsh-filexfer-13, section 9.1).
fn meaning(code: u32) -> Option<(StatusCode, &'static str)> {
    use StatusCode::{Failure, NoSuchFile, OpUnsupported, PermissionDenied};
    Some(match code {
        0..=8 => return None,
        9 => (Failure, "invalid handle"),
        10 => (NoSuchFile, "no such path"),
        11 => (Failure, "the file exists"),
        12 => (PermissionDenied, "write-protected"),
        13 => (Failure, "no medium"),
        14 => (Failure, "no space on the file system"),
        15 => (Failure, "quota exceeded"),
        16 => (Failure, "unknown user or group"),
        17 => (Failure, "the file is locked"),
        18 => (Failure, "the directory is not empty"),
        19 => (Failure, "not a directory"),
        20 => (Failure, "invalid file name"),
        21 => (Failure, "too many symbolic links"),
        22 => (Failure, "the file cannot be deleted"),
        23 => (Failure, "invalid parameter"),
        24 => (Failure, "the file is a directory"),
        25 | 26 => (Failure, "locked by another process"),
        27 => (Failure, "deletion is pending"),
        28 => (Failure, "the file is corrupt"),
        29 | 30 => (PermissionDenied, "invalid owner or group"),
        31 => (OpUnsupported, "unsupported lock"),
        _ => (Failure, "unknown status"),
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for Responses<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_ready(cx))?;
        let State::Ready { bytes, at, rest } = &mut this.state else { return Poll::Ready(Ok(())) };
        if *at < bytes.len() {
            let len = buf.remaining().min(bytes.len() - *at);
            buf.put_slice(&bytes[*at..*at + len]);
            *at += len;
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to((*rest).min(buf.remaining())));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        // At the end of the stream nothing is left.
        *rest = if read == 0 { 0 } else { *rest - read };
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// The header of a version packet, from which a session begins.
    const START: &[u8] = &[0, 0, 0, 5, VERSION, 0, 0, 0, 3];

    async fn read(sent: &[u8]) -> (Vec<u8>, String) {
        let (mut responses, not_sftp) = Responses::new(sent);
        let mut got = Vec::new();
        responses.read_to_end(&mut got).await.unwrap();
        (got, not_sftp.text())
    }

    fn status(code: u32, texts: &[&[u8]]) -> Vec<u8> {
        let mut body = vec![STATUS, 0, 0, 0, 7];
        body.extend_from_slice(&code.to_be_bytes());
        for text in texts {
            body.extend_from_slice(&(text.len() as u32).to_be_bytes());
            body.extend_from_slice(text);
        }
        [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat()
    }

    async fn becomes(sent: Vec<u8>, expected: Vec<u8>) {
        // Another packet follows, to show that the boundaries are kept.
        let other: &[u8] = &[0, 0, 0, 3, 103, 1, 2];
        let (got, _) = read(&[START, &sent, other].concat()).await;
        assert_eq!(got, [START, &expected, other].concat());
    }

    #[tokio::test]
    async fn a_status_of_version_3_is_not_changed() {
        becomes(status(3, &[b"Permission denied", b""]), status(3, &[b"Permission denied", b""])).await;
    }

    #[tokio::test]
    async fn a_code_of_a_later_draft_becomes_a_failure_with_its_meaning() {
        let expected = status(4, &[b"over quota: quota exceeded (status 15)", b""]);
        becomes(status(15, &[b"over quota", b"en"]), expected).await;
        becomes(status(10, &[b"", b""]), status(2, &[b"no such path (status 10)", b""])).await;
        becomes(status(4711, &[b"", b""]), status(4, &[b"unknown status (status 4711)", b""])).await;
    }

    #[tokio::test]
    async fn a_status_without_texts_or_with_texts_of_any_encoding_is_readable() {
        becomes(status(4, &[]), status(4, &[b"", b""])).await;
        becomes(
            status(4, &[b"Platte voll \xfc\x1b[2J"]),
            status(4, &["Platte voll \u{fffd}\u{fffd}[2J".as_bytes(), b""]),
        )
        .await;
    }

    #[tokio::test]
    async fn a_lying_length_of_a_text_harms_nothing() {
        let mut lying = status(4, &[b"abc", b""]);
        lying[13..17].copy_from_slice(&u32::MAX.to_be_bytes());
        becomes(lying, status(4, &[b"", b""])).await;
    }

    #[tokio::test]
    async fn text_in_place_of_sftp_is_stored_with_a_limit() {
        assert_eq!(read(b"hi\n").await.1, "hi");
        assert_eq!(read(b"This account is disabled.\r\n").await.1, "This account is disabled.");
        assert_eq!(read(&[b'x'; 10_000]).await.1.len(), MAX_LEN);
        assert_eq!(read(START).await, (START.to_vec(), String::new()));
    }
}
