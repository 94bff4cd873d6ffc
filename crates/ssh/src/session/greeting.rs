//! What a server sends before its SSH version. sshd refuses a connection with a line of text there, such as "Not allowed at this
//! time" or "Exceeded MaxStartups", which the SSH library drops.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use nightshift_core::text::Text;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of the first line that are stored: RFC 4253, section 4.2, limits the line of the version to 255. Any number of lines may
/// come before that one.
const MAX_LEN: usize = 255;
const VERSION: &[u8] = b"SSH-";

/// What a server sent up to its version.
#[derive(Clone, Default)]
pub(crate) struct Greeting(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    first: Vec<u8>,
    first_has_ended: bool,
    /// The first bytes of the current line, as many as show a version.
    start: Vec<u8>,
    has_version: bool,
}

impl Greeting {
    /// Why no session began, if the server sent a line of text and no version after it.
    pub fn refusal(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Text::new(String::from_utf8_lossy(&lines.first).trim());
        (!lines.has_version && !line.is_empty())
            .then(|| format!("the server sent \"{line}\" instead of its SSH version"))
    }

    /// Returns whether the version has arrived.
    fn add(&self, bytes: &[u8]) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.iter().any(|byte| lines.add(*byte))
    }
}

impl Lines {
    fn add(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            self.start.clear();
            // An empty line refuses nothing.
            self.first_has_ended |= !self.first.trim_ascii().is_empty();
            return false;
        }
        if self.start.len() < VERSION.len() {
            self.start.push(byte);
        }
        if !self.first_has_ended && self.first.len() < MAX_LEN {
            self.first.push(byte);
        }
        self.has_version = self.start == VERSION;
        self.has_version
    }
}

/// The reading half of a connection; its first bytes are stored as they are read.
pub(crate) struct Greeted<S> {
    stream: S,
    /// `None` once the version has arrived.
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
        self.greeting.take_if(|greeting| greeting.add(&buf.filled()[before..]));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sent: &str) -> Option<String> {
        let greeting = Greeting::default();
        // In two reads, which divide a line.
        let (first, second) = sent.as_bytes().split_at(sent.len() / 2);
        let _version_arrived = greeting.add(first) || greeting.add(second);
        greeting.refusal()
    }

    #[test]
    fn a_line_of_text_is_a_refusal_unless_a_version_follows_however_much_there_is() {
        let quoted = "the server sent \"Not allowed\" instead of its SSH version";
        assert_eq!(refusal("\r\nNot allowed\r\n").as_deref(), Some(quoted));
        assert!(refusal(&"x".repeat(100_000)).is_some_and(|reason| reason.len() < 400));
        let notice = "This system is monitored.\r\n".repeat(100);
        assert!(refusal(&notice).is_some());
        assert_eq!(refusal(&format!("{notice}SSH-2.0-OpenSSH_7.4\r\n")), None);
        assert_eq!(refusal("SSH-2.0-OpenSSH_7.4\r\n"), None);
    }
}
