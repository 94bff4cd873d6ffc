//! Writing a small file whole.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh_sftp::protocol::OpenFlags;
use tokio::time::timeout;

use super::{Sftp, SftpError};

/// Blocks of one small file that are on their way at once.
const BLOCKS: usize = 16;

impl Sftp {
    /// Creates or replaces a file, and puts it on the server's disk where the server can.
    pub async fn write_file(&self, path: &str, content: &[u8], mode: u32) -> Result<(), SftpError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let file = self.open_file(path, "write", flags, Some(mode)).await?;
        let mut acknowledged = FuturesUnordered::new();
        let mut offset = 0;
        for block in content.chunks(file.write_len()) {
            if acknowledged.len() == BLOCKS {
                next(&mut acknowledged, &file).await?;
            }
            acknowledged.push(file.write(offset, block.to_vec()));
            offset += block.len() as u64;
        }
        while !acknowledged.is_empty() {
            next(&mut acknowledged, &file).await?;
        }
        drop(acknowledged);
        file.sync().await?;
        file.close().await
    }
}

async fn next(
    acknowledged: &mut FuturesUnordered<impl Future<Output = Result<(), SftpError>>>,
    file: &super::OpenFile,
) -> Result<(), SftpError> {
    match timeout(file.patience(), acknowledged.next()).await {
        Err(_) => Err(file.stalled("write")),
        Ok(answer) => answer.unwrap_or(Ok(())),
    }
}
