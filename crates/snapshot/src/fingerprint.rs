//! What kind of file a database is.

use crate::meta::{Meta, MetaError};
use crate::trailer::TRAILER_LEN;

/// The kind of a file, determined by its metas and its length (docs/facts/etcd.md#file-format).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fingerprint {
    /// A snapshot, streamed by etcd or saved by `etcdctl snapshot save`: bbolt writes its two metas so that they differ only in
    /// the transaction number, by one.
    Stream,
    /// A copy of `member/snap/db`. A copy of a running etcd's file is worthless, but the file itself does not show that.
    Copy,
    NotEtcd,
}

impl Fingerprint {
    pub(crate) fn of(metas: &[Result<Meta, MetaError>; 2], length: u64) -> Self {
        match metas {
            [Ok(first), Ok(second)] if first.streamed_with(second) => Self::Stream,
            [Ok(_), Ok(_)] => Self::Copy,
            [Ok(meta), Err(_)] | [Err(_), Ok(meta)] => {
                if meta.bytes().and_then(|bytes| bytes.checked_add(TRAILER_LEN as u64)) == Some(length) {
                    Self::Stream
                } else {
                    Self::Copy
                }
            }
            [Err(_), Err(_)] => Self::NotEtcd,
        }
    }
}
