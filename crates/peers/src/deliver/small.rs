//! Small files on a remote, and the hash that it computes itself.

use std::time::Duration;

use nightshift_core::digest::Digest;
use nightshift_core::shell::quote;
use nightshift_ssh::{ExecError, Session, Sftp, SftpError};

/// An archive contains every secret of the cluster.
pub const MODE: u32 = 0o600;
/// Temporary names that are tried for a small file.
const MAX_NAMES: usize = 9;
/// For the remote to hash an archive.
const HASH_TIMEOUT: Duration = Duration::from_secs(3600);

/// Writes a small file under a temporary name, and returns the name. A login that may only add files cannot write one again that an
/// earlier attempt created.
pub async fn write_new(sftp: &Sftp, part: String, content: &[u8]) -> Result<String, SftpError> {
    let mut others = (2..=MAX_NAMES).map(|number| format!("{part}.{number}"));
    let mut path = part.clone();
    loop {
        let error = match sftp.write_file(&path, content, MODE).await {
            Ok(()) => return Ok(path),
            Err(error) => error,
        };
        let exists = error.is_denied() && sftp.size(&path).await.is_ok();
        path = match others.next() {
            Some(other) if exists => other,
            _ => return Err(error),
        };
    }
}

/// `None` if the remote does not run this command.
pub async fn hash_by_command(session: &Session, path: &str) -> Option<Digest> {
    let command = format!("sha256sum -b -- {}", quote(path));
    match session.exec(&command, 64 << 10, HASH_TIMEOUT).await {
        Ok(output) if output.status == Some(0) => {
            let text = String::from_utf8_lossy(&output.stdout);
            // sha256sum writes a backslash before the hash if it had to escape the name.
            text.trim_start_matches('\\').split_whitespace().next()?.parse().ok()
        }
        Ok(output) => {
            tracing::debug!("sha256sum on the remote: exit status {:?}", output.status);
            None
        }
        Err(ExecError::Forbidden { .. }) => None,
        Err(error) => {
            tracing::debug!("cannot run sha256sum on the remote: {error}");
            None
        }
    }
}

/// Identifies a file's content in a temporary name.
pub fn short(sha256: Digest) -> String {
    sha256.to_string()[..16].to_owned()
}
