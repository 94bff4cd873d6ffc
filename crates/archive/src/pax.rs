//! ACLs and capabilities in a tar: records of POSIX.1-2001 ("pax"), with the names that star, GNU tar and libarchive read.

use nightshift_core::access::{Access, Acl};

/// The maximum size in bytes of an entry's records: two ACLs of the largest size.
pub(crate) const MAX_LEN: u64 = 1 << 20;

/// The records of an item; empty if it needs none.
pub(crate) fn records(access: &Access) -> Vec<u8> {
    let text = |acl: &Option<Acl>| acl.as_ref().map(|acl| acl.to_string().into_bytes());
    let capability = access.capability.as_ref().map(|capability| capability.as_bytes().to_vec());
    let records = [
        ("SCHILY.acl.access", text(&access.acl)),
        ("SCHILY.acl.default", text(&access.default_acl)),
        ("SCHILY.xattr.security.capability", capability),
    ];
    records.into_iter().filter_map(|(key, value)| Some(record(key, &value?))).collect::<Vec<_>>().concat()
}

/// `LENGTH KEY=VALUE` and a newline. The length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        assert_eq!(record("k", b"v"), b"6 k=v\n");
        for value in 0..1100 {
            let record = record("key", &vec![b'x'; value]);
            assert!(record.starts_with(format!("{} ", record.len()).as_bytes()), "{value}");
        }
    }
}
