//! A blocking reader where an asynchronous one is asked for.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Blocks in `poll_read`: only for a thread that has nothing else to poll.
pub(crate) struct Inline<R>(pub R);

impl<R: Read + Unpin> AsyncRead for Inline<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = loop {
            match self.0.read(buffer.initialize_unfilled()) {
                Err(again) if again.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        Poll::Ready(read.map(|length| buffer.advance(length)))
    }
}
