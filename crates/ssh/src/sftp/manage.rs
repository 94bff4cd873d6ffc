//! Directories, renames, removal, and the free space of the server's file system.

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};

use super::{FileKind, Operation, Sftp, SftpError};

const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// How many missing parents of a new directory are created at most.
const MAX_DEPTH: usize = 64;

impl Sftp {
    /// Creates a directory and its missing parents. It may exist already.
    pub async fn create_dir_all(&self, path: &str, mode: u32) -> Result<(), SftpError> {
        let mut missing = Vec::new();
        let mut directory = path.trim_end_matches('/');
        loop {
            match self.create_dir(directory, mode).await {
                Ok(()) => break,
                Err(error) if error.is_gone() && missing.len() < MAX_DEPTH => {
                    missing.push(directory);
                    match directory.rsplit_once('/') {
                        Some((parent, _)) if !parent.is_empty() => directory = parent,
                        _ => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        for directory in missing.into_iter().rev() {
            self.create_dir(directory, mode).await?;
        }
        Ok(())
    }

    async fn create_dir(&self, path: &str, mode: u32) -> Result<(), SftpError> {
        let operation = Operation { action: "create the directory", path };
        let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        match self.channel.request(operation, self.channel.raw.mkdir(path, attributes)).await {
            Ok(_) => Ok(()),
            // Servers return different errors for an existing directory, so check whether it exists.
            Err(error @ (SftpError::Failure { .. } | SftpError::Denied { .. })) => {
                match self.stat(path).await {
                    Ok(there) if there.kind == FileKind::Directory => Ok(()),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs a file or directory to the server's disk. Returns false if the server does not support this.
    pub async fn fsync(&self, path: &str) -> Result<bool, SftpError> {
        let opened = self.open_file(path, "fsync", OpenFlags::READ, None).await?;
        opened.sync().await
    }

    /// Renames atomically, and replaces an existing target. A server without `posix-rename@openssh.com` cannot replace: then
    /// an existing target is an error and is not changed.
    pub async fn posix_rename(&self, from: &str, to: &str) -> Result<(), SftpError> {
        if !self.channel.has(POSIX_RENAME) {
            return self.rename_new(from, to).await;
        }
        let operation = Operation { action: "rename", path: from };
        let mut payload = Vec::new();
        for path in [from, to] {
            let len = u32::try_from(path.len()).unwrap_or(u32::MAX);
            payload.extend_from_slice(&len.to_be_bytes());
            payload.extend_from_slice(path.as_bytes());
        }
        let rename = async {
            match self.channel.raw.extended(POSIX_RENAME, payload).await? {
                Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
                Packet::Status(status) => Err(ProtocolError::Status(status)),
                _ => Err(ProtocolError::UnexpectedPacket),
            }
        };
        self.channel.request(operation, rename).await
    }

    /// Renames to a name that does not exist yet. It never replaces a file.
    pub async fn rename_new(&self, from: &str, to: &str) -> Result<(), SftpError> {
        let operation = Operation { action: "rename", path: from };
        match self.channel.request(operation, self.channel.raw.rename(from, to)).await {
            Ok(_) => Ok(()),
            Err(error @ SftpError::Failure { .. }) => match self.lstat(to).await {
                Ok(_) => Err(SftpError::Exists { peer: self.peer().to_owned(), path: to.to_owned() }),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Removes a file or a symlink.
    pub async fn remove(&self, path: &str) -> Result<(), SftpError> {
        let operation = Operation { action: "remove", path };
        self.channel.request(operation, self.channel.raw.remove(path)).await.map(drop)
    }

    /// The bytes that this login can still use on the file system of `path`; `None` if the server does not support this.
    pub async fn free_bytes(&self, path: &str) -> Result<Option<u64>, SftpError> {
        if !self.channel.has("statvfs@openssh.com") {
            return Ok(None);
        }
        let operation = Operation { action: "query the free space of", path };
        let reply = self.channel.request(operation, self.channel.raw.statvfs(path)).await?;
        Ok(Some(reply.blocks_avail.saturating_mul(reply.fragment_size)))
    }
}
