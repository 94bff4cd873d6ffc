//! Where downloaded bytes go: hashed and written on a thread of their own, a few chunks behind the network.

use std::fs::File;
use std::io::{self, Write as _};

use nightshift_core::digest::{HashedWriter, Written};
use nightshift_ssh::ChunkSink;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use nightshift_store::offload;
use nightshift_store::{Guard, sync_file};

/// Chunks between the network and the disk: with 255 KiB each, 4 MiB at most.
const AHEAD: usize = 16;

pub struct FileSink {
    chunks: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<Written>>,
}

impl FileSink {
    /// The set stays locked until the last chunk is on disk, even where the transfer was given up.
    pub fn new(guard: Guard, mut file: HashedWriter<File>) -> Self {
        let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(AHEAD);
        let writer = offload::offload(move || {
            while let Some(chunk) = queue.blocking_recv() {
                file.write_all(&chunk)?;
            }
            let (file, written) = file.finish();
            sync_file(&file)?;
            drop(guard);
            Ok(written)
        });
        Self { chunks, writer }
    }

    /// Everything was handed on: waits until it is on disk.
    pub async fn finish(self) -> io::Result<Written> {
        drop(self.chunks);
        self.writer.await.map_err(io::Error::other)?
    }
}

impl ChunkSink for FileSink {
    async fn chunk(&mut self, data: Vec<u8>) -> io::Result<()> {
        // The writer went away: `finish` has its reason.
        self.chunks.send(data).await.map_err(|_| io::Error::other("the file cannot be written"))
    }
}
