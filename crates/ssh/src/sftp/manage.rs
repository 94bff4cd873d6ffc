//! Folders, renames, removal, and what the server's file system has left.

use russh_sftp::client::error::Error as ProtocolError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};

use super::{Doing, FileKind, Sftp, SftpError};

const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// How many folders above a new one are made at the most.
const MAX_DEPTH: usize = 64;

/// What this login may still use of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// None where the file system does not count them.
    pub free_inodes: Option<u64>,
}

impl Sftp {
    /// Makes a folder and those above it; one that is there already is fine.
    pub async fn create_dir_all(&self, path: &str, mode: u32) -> Result<(), SftpError> {
        let mut missing = Vec::new();
        let mut folder = path.trim_end_matches('/');
        loop {
            match self.create_dir(folder, mode).await {
                Ok(()) => break,
                Err(error) if error.is_gone() && missing.len() < MAX_DEPTH => {
                    missing.push(folder);
                    match folder.rsplit_once('/') {
                        Some((above, _)) if !above.is_empty() => folder = above,
                        _ => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        for folder in missing.into_iter().rev() {
            self.create_dir(folder, mode).await?;
        }
        Ok(())
    }

    async fn create_dir(&self, path: &str, mode: u32) -> Result<(), SftpError> {
        let doing = Doing { action: "make the folder", path };
        let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        match self.channel.ask(doing, self.channel.raw.mkdir(path, attributes)).await {
            Ok(_) => Ok(()),
            // What it says of a folder that exists differs between servers; whether one is there does not.
            Err(error @ (SftpError::Failure { .. } | SftpError::Denied { .. })) => {
                match self.stat(path).await {
                    Ok(there) if there.kind == FileKind::Folder => Ok(()),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Puts a file or folder on the server's disk. False where the server cannot.
    pub async fn fsync(&self, path: &str) -> Result<bool, SftpError> {
        let opened = self.open_file(path, "fsync", OpenFlags::READ, None).await?;
        opened.sync().await
    }

    /// Renames, replacing what is at the new name in one step. A server without `posix-rename@openssh.com` cannot
    /// replace: there an existing target is an error and stays as it is.
    pub async fn posix_rename(&self, from: &str, to: &str) -> Result<(), SftpError> {
        if !self.channel.has(POSIX_RENAME) {
            return self.rename_new(from, to).await;
        }
        let doing = Doing { action: "rename", path: from };
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
        self.channel.ask(doing, rename).await
    }

    /// Renames to a name that is free; never replaces anything.
    pub async fn rename_new(&self, from: &str, to: &str) -> Result<(), SftpError> {
        let doing = Doing { action: "rename", path: from };
        match self.channel.ask(doing, self.channel.raw.rename(from, to)).await {
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
        let doing = Doing { action: "remove", path };
        self.channel.ask(doing, self.channel.raw.remove(path)).await.map(drop)
    }

    /// What is left on the file system that holds the path. None where the server cannot tell.
    pub async fn space(&self, path: &str) -> Result<Option<Space>, SftpError> {
        if !self.channel.has("statvfs@openssh.com") {
            return Ok(None);
        }
        let doing = Doing { action: "ask for the free space of", path };
        let answer = self.channel.ask(doing, self.channel.raw.statvfs(path)).await?;
        Ok(Some(Space {
            free_bytes: answer.blocks_avail.saturating_mul(answer.fragment_size),
            total_bytes: answer.blocks.saturating_mul(answer.fragment_size),
            free_inodes: (answer.inodes > 0).then_some(answer.inodes_avail),
        }))
    }
}
