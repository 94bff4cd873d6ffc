//! The values of the bucket `key`: `mvccpb.KeyValue`, read without copying (etcd, `api/mvccpb/kv.proto`).

/// One stored change, borrowed from its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyValue<'a> {
    /// Empty only in the entry of a bumped revision (`etcdutl snapshot restore --bump-revision`), which has no content.
    pub key: &'a [u8],
    pub create_revision: i64,
    /// 0 if the key was deleted.
    pub mod_revision: i64,
    /// How often the key was written since it was created.
    pub version: i64,
    pub value: &'a [u8],
    /// 0: none.
    pub lease: i64,
}

/// Why bytes are not a valid `KeyValue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    #[error("it ends within a field")]
    Cut,
    #[error("a number in it has more than 64 bits")]
    Number,
    #[error("one of its fields has the wrong type")]
    Type,
    #[error("it has a field with the number 0")]
    NoField,
}

pub(crate) const VARINT: u64 = 0;
const FIXED64: u64 = 1;
pub(crate) const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl<'a> KeyValue<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, KeyValueError> {
        let mut parsed = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            let (field, wire) = (tag >> 3, tag & 7);
            match (field, wire) {
                (0, _) => return Err(KeyValueError::NoField),
                (1, BYTES) => parsed.key = sized(&mut rest)?,
                (2, VARINT) => parsed.create_revision = varint(&mut rest)?.cast_signed(),
                (3, VARINT) => parsed.mod_revision = varint(&mut rest)?.cast_signed(),
                (4, VARINT) => parsed.version = varint(&mut rest)?.cast_signed(),
                (5, BYTES) => parsed.value = sized(&mut rest)?,
                (6, VARINT) => parsed.lease = varint(&mut rest)?.cast_signed(),
                (1..=6, _) => return Err(KeyValueError::Type),
                (_, _) => skip(wire, &mut rest)?,
            }
        }
        Ok(parsed)
    }
}

pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, KeyValueError> {
    let mut value = 0u64;
    for (index, byte) in rest.iter().enumerate().take(10) {
        if index == 9 && *byte > 1 {
            return Err(KeyValueError::Number);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(if rest.len() < 10 { KeyValueError::Cut } else { KeyValueError::Number })
}

/// Skips an unknown field.
pub(crate) fn skip(wire: u64, rest: &mut &[u8]) -> Result<(), KeyValueError> {
    match wire {
        VARINT => varint(rest).map(drop),
        FIXED64 => take(rest, 8).map(drop),
        BYTES => sized(rest).map(drop),
        FIXED32 => take(rest, 4).map(drop),
        _ => Err(KeyValueError::Type),
    }
}

pub(crate) fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], KeyValueError> {
    let length = usize::try_from(varint(rest)?).map_err(|_| KeyValueError::Cut)?;
    take(rest, length)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], KeyValueError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(KeyValueError::Cut)?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"\x0a\x03foo\x10\x05\x18\xac\x02\x20\x03\x2a\x03bar\x30\x01";

    #[test]
    fn a_key_value_is_read_without_a_copy() {
        let wanted = KeyValue {
            key: b"foo",
            create_revision: 5,
            mod_revision: 300,
            version: 3,
            value: b"bar",
            lease: 1,
        };
        assert_eq!(KeyValue::parse(SAMPLE), Ok(wanted));
        assert_eq!(KeyValue::parse(b""), Ok(KeyValue::default()));
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut bytes = SAMPLE.to_vec();
        bytes.extend(b"\x38\x01\x41\x01\x02\x03\x04\x05\x06\x07\x08\x4a\x02hi\x55\x01\x02\x03\x04");
        assert_eq!(KeyValue::parse(&bytes).unwrap().lease, 1);
    }

    #[test]
    fn a_truncated_message_or_a_wrong_type_is_refused() {
        // Truncated between two fields, a message is still valid.
        let whole = [0, 5, 7, 10, 12, 17];
        for length in (0..SAMPLE.len()).filter(|length| !whole.contains(length)) {
            assert_eq!(KeyValue::parse(&SAMPLE[..length]), Err(KeyValueError::Cut), "{length}");
        }
        assert_eq!(KeyValue::parse(b"\x08\x01"), Err(KeyValueError::Type));
        assert_eq!(KeyValue::parse(b"\x12\x00"), Err(KeyValueError::Type));
        assert_eq!(KeyValue::parse(b"\x3b"), Err(KeyValueError::Type));
        assert_eq!(KeyValue::parse(b"\x00\x00"), Err(KeyValueError::NoField));
        assert_eq!(
            KeyValue::parse(b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
            Err(KeyValueError::Number)
        );
        assert_eq!(KeyValue::parse(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Err(KeyValueError::Cut));
    }
}
