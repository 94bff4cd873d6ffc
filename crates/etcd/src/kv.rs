//! Keys of a member, counted, read and written: of a scratch etcd, or of a member that was restored.

use crate::client::Client;
use crate::error::ClientError;
use crate::message::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
};

const RANGE: &str = "/etcdserverpb.KV/Range";

impl Client {
    /// The number of keys that begin with `prefix` at a revision; 0 is the newest one. An empty prefix is that of all keys.
    pub async fn count(&self, prefix: &[u8], revision: i64) -> Result<i64, ClientError> {
        let (key, range_end) = match prefix {
            [] => (vec![0], vec![0]),
            prefix => (prefix.to_vec(), end_of(prefix)),
        };
        let request = RangeRequest { key, range_end, revision, count_only: true, ..RangeRequest::default() };
        Ok(self.request::<_, RangeResponse>("Range", RANGE, request).await?.count)
    }

    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        let request = RangeRequest { key: key.to_vec(), ..RangeRequest::default() };
        let response: RangeResponse = self.request("Range", RANGE, request).await?;
        Ok(response.kvs.into_iter().next().map(|found| found.value))
    }

    /// The revision of the last change of a key.
    pub async fn changed_at(&self, key: &[u8]) -> Result<Option<i64>, ClientError> {
        let request = RangeRequest { key: key.to_vec(), ..RangeRequest::default() };
        let response: RangeResponse = self.request("Range", RANGE, request).await?;
        Ok(response.kvs.first().map(|found| found.mod_revision))
    }

    /// Returns the revision of the write.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<i64, ClientError> {
        let request = PutRequest { key: key.to_vec(), value: value.to_vec(), lease: 0 };
        let response: PutResponse = self.request("Put", "/etcdserverpb.KV/Put", request).await?;
        Ok(response.header.unwrap_or_default().revision)
    }

    /// Deletes one key, and returns the number of deleted keys.
    pub async fn delete(&self, key: &[u8]) -> Result<i64, ClientError> {
        let request = DeleteRangeRequest { key: key.to_vec() };
        let response: DeleteRangeResponse =
            self.request("DeleteRange", "/etcdserverpb.KV/DeleteRange", request).await?;
        Ok(response.deleted)
    }
}

/// The first key after all keys with the prefix; a zero byte, which means no end, if there is none.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_after_all_keys_with_it() {
        assert_eq!(end_of(b"/a/"), b"/a0");
        assert_eq!(end_of(b"a\xff"), b"b");
        assert_eq!(end_of(b"\xff\xff"), b"\0");
    }
}
