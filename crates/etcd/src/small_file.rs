//! Small files that an operator or etcd's installer wrote: configurations and certificates.

use std::io;
use std::path::Path;

/// The maximum size of a member's configuration and of a certificate bundle, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a small regular file.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = nightshift_core::read_bounded(nightshift_store::open_regular(path)?, MAX_BYTES)?;
    // Some editors put a byte order mark before the first line, which then is not recognised.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.conf");
        std::fs::write(&path, "\u{feff}ETCD_NAME=one\n").unwrap();
        assert_eq!(read_small(&path).unwrap(), b"ETCD_NAME=one\n");
    }

    #[test]
    fn a_pipe_is_refused_instead_of_being_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(read_small(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
