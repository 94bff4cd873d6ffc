//! Where bytes go that are only to be hashed: on a thread of its own, a few chunks behind the network.

use std::io;

use nightshift_core::digest::{Digest, Hasher};
use nightshift_ssh::ChunkSink;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use nightshift_store::offload;

/// Chunks between the network and the hash.
const AHEAD: usize = 16;

pub struct HashSink {
    chunks: mpsc::Sender<Vec<u8>>,
    hashing: JoinHandle<Digest>,
}

impl HashSink {
    pub fn new() -> Self {
        let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(AHEAD);
        let hashing = offload::offload(move || {
            let mut hasher = Hasher::default();
            while let Some(chunk) = queue.blocking_recv() {
                hasher.update(&chunk);
            }
            hasher.finish()
        });
        Self { chunks, hashing }
    }

    pub async fn finish(self) -> io::Result<Digest> {
        drop(self.chunks);
        self.hashing.await.map_err(io::Error::other)
    }
}

impl ChunkSink for HashSink {
    async fn chunk(&mut self, data: Vec<u8>) -> io::Result<()> {
        self.chunks.send(data).await.map_err(|_| io::Error::other("the hash cannot be taken"))
    }
}
