//! Keys of a member, counted, written and read: for the scratch etcd of a drill, never for a real one.

use crate::client::Client;
use crate::message::{
    DeleteRangeRequest, DeleteRangeResponse, Empty, PutRequest, RangeRequest, RangeResponse,
};
use crate::trouble::ClientError;

const RANGE: &str = "/etcdserverpb.KV/Range";

impl Client {
    /// How many keys begin with `prefix` as of a revision, 0 for the newest one; all keys begin with nothing.
    pub async fn count(&self, prefix: &[u8], revision: i64) -> Result<i64, ClientError> {
        let (key, range_end) = match prefix {
            [] => (vec![0], vec![0]),
            prefix => (prefix.to_vec(), end_of(prefix)),
        };
        let question = RangeRequest { key, range_end, revision, count_only: true, ..RangeRequest::default() };
        Ok(self.ask::<_, RangeResponse>("Range", RANGE, question).await?.count)
    }

    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        let question = RangeRequest { key: key.to_vec(), ..RangeRequest::default() };
        let answer: RangeResponse = self.ask("Range", RANGE, question).await?;
        Ok(answer.kvs.into_iter().next().map(|found| found.value))
    }

    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ClientError> {
        let question = PutRequest { key: key.to_vec(), value: value.to_vec(), lease: 0 };
        self.ask::<_, Empty>("Put", "/etcdserverpb.KV/Put", question).await.map(drop)
    }

    /// Deletes one key; how many there were.
    pub async fn delete(&self, key: &[u8]) -> Result<i64, ClientError> {
        let question = DeleteRangeRequest { key: key.to_vec() };
        let answer: DeleteRangeResponse =
            self.ask("DeleteRange", "/etcdserverpb.KV/DeleteRange", question).await?;
        Ok(answer.deleted)
    }
}

/// The first key after all those with the prefix; a zero byte, which is everything, where there is none.
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
    fn a_prefix_ends_before_the_first_key_that_does_not_have_it() {
        assert_eq!(end_of(b"/a/"), b"/a0");
        assert_eq!(end_of(b"a\xff"), b"b");
        assert_eq!(end_of(b"\xff\xff"), b"\0");
    }
}
