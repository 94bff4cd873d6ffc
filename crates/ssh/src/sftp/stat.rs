//! The attributes of a file.

use russh_sftp::protocol::{FileAttributes, OpenFlags};

use super::{Operation, Sftp, SftpError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    /// A device, pipe or socket, or unknown, if the server does not report it.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub kind: FileKind,
    pub size: u64,
    /// The permission bits, without the file type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
}

impl From<&FileAttributes> for Stat {
    fn from(attributes: &FileAttributes) -> Self {
        let mode = attributes.permissions.unwrap_or_default();
        let kind = match mode & 0o170_000 {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Symlink,
            _ => FileKind::Other,
        };
        Self {
            kind,
            size: attributes.size.unwrap_or_default(),
            mode: mode & 0o7777,
            uid: attributes.uid.unwrap_or_default(),
            gid: attributes.gid.unwrap_or_default(),
            mtime: attributes.mtime.unwrap_or_default().into(),
        }
    }
}

impl Sftp {
    /// The attributes of the path itself; a symlink is not followed.
    pub async fn lstat(&self, path: &str) -> Result<Stat, SftpError> {
        let operation = Operation { action: "stat", path };
        let reply = self.channel.request(operation, self.channel.raw.lstat(path)).await?;
        Ok(Stat::from(&reply.attrs))
    }

    /// The attributes of the file that the path leads to; symlinks are followed.
    pub async fn stat(&self, path: &str) -> Result<Stat, SftpError> {
        let operation = Operation { action: "stat", path };
        let reply = self.channel.request(operation, self.channel.raw.stat(path)).await?;
        Ok(Stat::from(&reply.attrs))
    }

    /// The size of a file in bytes; a symlink is not followed. A login that may not stat, or whose server sends no attributes, may
    /// still be allowed to open it.
    pub async fn size(&self, path: &str) -> Result<u64, SftpError> {
        let operation = Operation { action: "stat", path };
        let denied = match self.channel.request(operation, self.channel.raw.lstat(path)).await {
            Ok(reply) => match reply.attrs.size {
                Some(size) => return Ok(size),
                None => None,
            },
            Err(error @ SftpError::Denied { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        let file = match self.open_file(path, "stat", OpenFlags::READ, None).await {
            Err(error @ SftpError::Denied { .. }) => return Err(denied.unwrap_or(error)),
            opened => opened?,
        };
        let reply = self.channel.request(operation, self.channel.raw.fstat(file.handle())).await?;
        reply.attrs.size.ok_or_else(|| self.invalid(operation, "no size"))
    }

    fn invalid(&self, operation: Operation<'_>, reason: &str) -> SftpError {
        SftpError::Protocol {
            peer: self.peer().to_owned(),
            path: operation.path.to_owned(),
            action: operation.action,
            reason: reason.to_owned(),
        }
    }

    /// The target of a symlink, as stored in it.
    pub async fn read_link(&self, path: &str) -> Result<String, SftpError> {
        let operation = Operation { action: "read the link", path };
        let reply = self.channel.request(operation, self.channel.raw.readlink(path)).await?;
        let target = reply.files.into_iter().next().map(|file| file.filename);
        target.ok_or_else(|| self.invalid(operation, "no target"))
    }
}
