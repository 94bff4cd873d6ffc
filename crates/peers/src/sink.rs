//! Downloaded bytes, hashed and written on a thread of their own, a few chunks behind the network.

use std::io::{self, Write};

use nightshift_core::digest::{HashedWriter, Written};
use nightshift_ssh::ChunkSink;
use nightshift_store::{Guard, SetFile, offload, sync_file};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Chunks between the network and the disk: with 255 KiB each, 4 MiB at most.
const MAX_QUEUED: usize = 16;

pub struct HashedSink {
    chunks: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<Written>>,
}

impl HashedSink {
    /// Writes at the end of a file, and syncs it. The set stays locked until then, also if the transfer is dropped.
    pub fn to_file(guard: Guard, file: HashedWriter<SetFile>) -> Self {
        Self::new(file, move |file| {
            let synced = sync_file(file.as_ref());
            drop(guard);
            synced
        })
    }

    /// Hashes only.
    pub fn hash() -> Self {
        Self::new(HashedWriter::new(io::sink()), |_| Ok(()))
    }

    fn new<W: Write + Send + 'static>(
        mut writer: HashedWriter<W>,
        finish: impl FnOnce(W) -> io::Result<()> + Send + 'static,
    ) -> Self {
        let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(MAX_QUEUED);
        let writer = offload::offload(move || {
            while let Some(chunk) = queue.blocking_recv() {
                writer.write_all(&chunk)?;
            }
            let (inner, written) = writer.finish();
            finish(inner)?;
            Ok(written)
        });
        Self { chunks, writer }
    }

    /// Waits until every chunk is hashed and on disk.
    pub async fn finish(self) -> io::Result<Written> {
        drop(self.chunks);
        self.writer.await.map_err(io::Error::other)?
    }
}

impl ChunkSink for HashedSink {
    async fn chunk(&mut self, data: Vec<u8>) -> io::Result<()> {
        // The writer ended early: `finish` returns its error.
        self.chunks.send(data).await.map_err(|_| io::Error::other("cannot write the file"))
    }
}
