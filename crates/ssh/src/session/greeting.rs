//! What a server sends before its SSH version. sshd refuses a connection with a line of text there, such as "Not allowed at this
//! time" or "Exceeded MaxStartups", which the SSH library drops.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use nightshift_core::text::Text;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that are stored: RFC 4253, section 4.2, limits the line of the version to 255.
const MAX_LEN: usize = 255;
const VERSION: &[u8] = b"SSH-";

/// The first bytes that a server sent.
#[derive(Clone, Default)]
pub(super) struct Greeting(Arc<Mutex<Vec<u8>>>);

impl Greeting {
    /// The first line, if the server sent no version after it.
    pub fn refusal(&self) -> Option<Text> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_version = bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(VERSION));
        let text = String::from_utf8_lossy(&bytes);
        let line = Text::new(text.lines().next()?);
        (!has_version && !line.is_empty()).then_some(line)
    }

    fn add(&self, bytes: &[u8]) {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let len = bytes.len().min(MAX_LEN - stored.len());
        stored.extend_from_slice(&bytes[..len]);
    }

    fn is_full(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() == MAX_LEN
    }
}

/// The reading half of a connection; its first bytes are stored as they are read.
pub(super) struct Greeted<S> {
    stream: S,
    /// `None` once it is full.
    greeting: Option<Greeting>,
}

impl<S> Greeted<S> {
    pub fn new(stream: S) -> (Self, Greeting) {
        let greeting = Greeting::default();
        (Self { stream, greeting: Some(greeting.clone()) }, greeting)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(greeting) = &self.greeting {
            greeting.add(&buf.filled()[before..]);
            if greeting.is_full() {
                self.greeting = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}
