//! The fields of a protobuf message, read without its schema: what is not edited stays as it is, byte by byte.

/// The message ends inside a field, or has a wire type that proto3 does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not valid protobuf")]
pub struct Malformed;

/// What a field's content becomes; `None` leaves the field out.
pub type Edited = Result<Option<Vec<u8>>, Malformed>;

/// Wire types of protobuf's encoding.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const DELIMITED: u64 = 2;
const FOUR_BYTES: u64 = 5;

pub struct Field<'m> {
    pub number: u64,
    /// The whole field with its tag.
    pub bytes: &'m [u8],
    /// Of a length-delimited field.
    pub content: Option<&'m [u8]>,
}

/// The fields of a message, in their order.
pub struct Fields<'m>(pub &'m [u8]);

impl<'m> Iterator for Fields<'m> {
    type Item = Result<Field<'m>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = first(self.0);
        self.0 = field.as_ref().map_or(&[], |(_, rest)| rest);
        Some(field.map(|(field, _)| field).ok_or(Malformed))
    }
}

fn first(message: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let mut rest = message;
    let tag = varint(&mut rest)?;
    let content = match tag & 7 {
        VARINT => {
            varint(&mut rest)?;
            None
        }
        EIGHT_BYTES => {
            rest = rest.get(8..)?;
            None
        }
        FOUR_BYTES => {
            rest = rest.get(4..)?;
            None
        }
        DELIMITED => {
            let length = usize::try_from(varint(&mut rest)?).ok()?;
            let (content, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(content)
        }
        _ => return None,
    };
    let bytes = &message[..message.len() - rest.len()];
    Some((Field { number: tag >> 3, bytes, content }, rest))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for index in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length-delimited field.
pub fn push(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    push_varint(out, number << 3 | DELIMITED);
    push_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// The content of a length-delimited field; of several, the last one counts.
pub fn content(message: &[u8], number: u64) -> Result<Option<&[u8]>, Malformed> {
    let mut found = None;
    for field in Fields(message) {
        let field = field?;
        found = field.content.filter(|_| field.number == number).or(found);
    }
    Ok(found)
}

/// A copy of a message, in which each length-delimited field of this number has the content that `edit` returns. A field for which it
/// returns `None` is left out.
pub fn edited(
    message: &[u8],
    number: u64,
    edit: &mut dyn FnMut(&[u8]) -> Edited,
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(message.len());
    for field in Fields(message) {
        let field = field?;
        match field.content.filter(|_| field.number == number) {
            None => out.extend_from_slice(field.bytes),
            Some(content) => {
                if let Some(content) = edit(content)? {
                    push(&mut out, number, &content);
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fields of all wire types, with a number of two bytes among them.
    const MESSAGE: &[u8] = b"\x08\x96\x01\x12\x03abc\x1d\x01\x02\x03\x04\x21\x01\x02\x03\x04\x05\x06\x07\x08\x82\x01\x01z\x12\x00";

    #[test]
    fn an_edit_changes_the_fields_of_its_number_and_nothing_else() {
        let same = edited(MESSAGE, 2, &mut |content| Ok(Some(content.to_vec()))).unwrap();
        assert_eq!(same, MESSAGE);
        let without = edited(MESSAGE, 2, &mut |_| Ok(None)).unwrap();
        assert_eq!(
            without,
            b"\x08\x96\x01\x1d\x01\x02\x03\x04\x21\x01\x02\x03\x04\x05\x06\x07\x08\x82\x01\x01z"
        );
        let long = edited(b"\x12\x03abc", 2, &mut |_| Ok(Some(vec![7; 300]))).unwrap();
        assert_eq!((&long[..3], long.len()), (b"\x12\xac\x02".as_slice(), 303));
        assert_eq!(content(MESSAGE, 2), Ok(Some(b"".as_slice())), "the last one counts");
        assert_eq!(content(MESSAGE, 16), Ok(Some(b"z".as_slice())));
        assert_eq!(content(MESSAGE, 1), Ok(None), "a number is not length-delimited");
    }

    #[test]
    fn a_cut_message_and_an_unknown_wire_type_are_refused() {
        for malformed in [
            b"\x12\x04abc".as_slice(),
            b"\x08",
            b"\x08\x96",
            b"\x1d\x01",
            b"\x13",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(content(malformed, 2), Err(Malformed), "{malformed:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_copied_as_they_are_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100), number in 0u64..20) {
            // A length may be encoded longer than needed, and is then copied shorter.
            if let Ok(copy) = edited(&bytes, number, &mut |content| Ok(Some(content.to_vec()))) {
                prop_assert!(copy.len() <= bytes.len());
                prop_assert_eq!(content(&copy, number), content(&bytes, number));
            }
        }
    }
}
