//! Writes a small file.

use futures_util::stream::FuturesUnordered;
use russh_sftp::protocol::OpenFlags;

use super::{Sftp, SftpError};

/// How many blocks of a file may be unacknowledged.
const MAX_IN_FLIGHT: usize = 16;

impl Sftp {
    /// Creates or overwrites a file, and syncs it to the server's disk if the server supports this.
    pub async fn write_file(&self, path: &str, content: &[u8], mode: u32) -> Result<(), SftpError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let file = self.open_file(path, "write", flags, Some(mode)).await?;
        let mut acknowledged = FuturesUnordered::new();
        let mut offset = 0;
        for block in content.chunks(file.write_len()) {
            if acknowledged.len() == MAX_IN_FLIGHT {
                file.acknowledged(&mut acknowledged).await?;
            }
            acknowledged.push(file.write(offset, block.to_vec()));
            offset += block.len() as u64;
        }
        while !acknowledged.is_empty() {
            file.acknowledged(&mut acknowledged).await?;
        }
        drop(acknowledged);
        file.sync().await?;
        file.close().await
    }
}
