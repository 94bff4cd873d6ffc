//! Directories, renames, removal, and the free space of the server's file system.

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};

use super::{FileKind, Operation, POSIX_RENAME, STATVFS, Sftp, SftpError};

/// How many missing parents of a new directory are created at most.
const MAX_DEPTH: usize = 64;

/// The file system of a path on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The bytes that this login can still use.
    pub free: u64,
    /// The maximum length of a file name, in bytes.
    pub max_name: Option<u64>,
}

impl Sftp {
    /// Creates a directory and its missing parents. It may exist already.
    pub async fn create_dir_all(&self, path: &str, mode: u32) -> Result<(), SftpError> {
        let mut missing = Vec::new();
        let mut directory = path;
        while !self.is_directory(directory).await? {
            missing.push(directory);
            match directory.trim_end_matches('/').rsplit_once('/') {
                Some((parent, _)) if !parent.is_empty() && missing.len() < MAX_DEPTH => directory = parent,
                _ => break,
            }
        }
        for directory in missing.into_iter().rev() {
            self.create_dir(directory, mode).await?;
        }
        Ok(())
    }

    /// Whether a path is a directory; false if it does not exist. A login that may not stat, or whose server sends no attributes,
    /// may still be allowed to open it.
    pub async fn is_directory(&self, path: &str) -> Result<bool, SftpError> {
        match self.stat(path).await {
            Ok(there) if there.kind == FileKind::Directory => Ok(true),
            Err(error) if error.is_gone() => Ok(false),
            Ok(_) => self.open_dir(path).await.map(|_| true),
            Err(error @ SftpError::Denied { .. }) => match self.open_dir(path).await {
                Ok(_) => Ok(true),
                Err(opening) if opening.is_gone() => Ok(false),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn create_dir(&self, path: &str, mode: u32) -> Result<(), SftpError> {
        let operation = Operation { action: "create the directory", path };
        let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        match self.channel.request(operation, self.channel.raw.mkdir(path, attributes)).await {
            Ok(_) => Ok(()),
            // Another host may have created it. Servers return different errors for an existing directory.
            Err(error @ (SftpError::Failure { .. } | SftpError::Denied { .. })) => {
                if self.is_directory(path).await? { Ok(()) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Syncs a file or directory to the server's disk. Returns false if the server does not support this.
    pub async fn fsync(&self, path: &str) -> Result<bool, SftpError> {
        let opened = self.open_file(path, "fsync", OpenFlags::READ, None).await?;
        opened.try_sync().await
    }

    /// Renames atomically, and replaces an existing target. A server without a working `posix-rename@openssh.com` cannot replace:
    /// then an existing target is an error and is not changed.
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
        match self.channel.request(operation, rename).await {
            Err(SftpError::Unsupported { .. }) => {
                self.channel.refuse(POSIX_RENAME);
                self.rename_new(from, to).await
            }
            // Either the login may not rename this file, or the server refuses the extension with this status.
            Err(denied @ SftpError::Denied { .. }) => {
                self.rename_new(from, to).await.map_err(|_| denied)?;
                self.channel.refuse(POSIX_RENAME);
                Ok(())
            }
            result => result,
        }
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

    /// The space on the file system of `path`; `None` if the server does not report it.
    pub async fn space(&self, path: &str) -> Result<Option<Space>, SftpError> {
        if !self.channel.has(STATVFS) {
            return Ok(None);
        }
        let operation = Operation { action: "query the free space of", path };
        let reply = match self.channel.request(operation, self.channel.raw.statvfs(path)).await {
            Ok(reply) => reply,
            Err(SftpError::Unsupported { .. } | SftpError::Failure { .. } | SftpError::Denied { .. }) => {
                self.channel.refuse(STATVFS);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // A file system without blocks is one whose server does not know its size.
        if reply.blocks == 0 {
            return Ok(None);
        }
        let unit = if reply.fragment_size == 0 { reply.block_size } else { reply.fragment_size };
        let max_name = Some(reply.name_max).filter(|max| *max > 0);
        Ok(Some(Space { free: reply.blocks_avail.saturating_mul(unit), max_name }))
    }
}
