//! Values that etcd decodes when it starts. It panics if it cannot decode them (etcd, `server/lease/leasepb/lease.proto`,
//! `api/authpb/auth.proto`).

use crate::key_value::{BYTES, KeyValueError, VARINT, sized, skip, varint};

/// The type of a known field.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    Number,
    Bytes,
    Message(&'static [Field]),
}

use Field::{Bytes, Message, Number};

/// ID, TTL, RemainingTTL. The first field has the number 1.
pub const LEASE: &[Field] = &[Number, Number, Number];
/// name, password, roles, options { no_password }.
pub const USER: &[Field] = &[Bytes, Bytes, Bytes, Message(&[Number])];
/// name, keyPermission { permType, key, range_end }.
pub const ROLE: &[Field] = &[Bytes, Message(&[Number, Bytes, Bytes])];

/// Checks that bytes are a message with these fields. The recursion is not deeper than `fields`.
pub fn check(bytes: &[u8], fields: &[Field]) -> Result<(), KeyValueError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let (number, wire) = (tag >> 3, tag & 7);
        let index = number.checked_sub(1).ok_or(KeyValueError::NoField)?;
        let field = usize::try_from(index).ok().and_then(|index| fields.get(index));
        match (field, wire) {
            (Some(Message(inner)), BYTES) => check(sized(&mut rest)?, inner)?,
            (Some(Number), VARINT) | (Some(Bytes), BYTES) | (None, _) => skip(wire, &mut rest)?,
            (Some(_), _) => return Err(KeyValueError::Type),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_messages_are_accepted_and_truncated_ones_refused() {
        let role = b"\x0a\x01r\x12\x08\x08\x02\x12\x01a\x1a\x01b";
        assert_eq!(check(role, ROLE), Ok(()));
        assert_eq!(check(b"\x08\x81\x80\x01\x10\x3c", LEASE), Ok(()));
        assert_eq!(check(b"\x0a\x01u\x12\x02pw\x1a\x01r\x22\x02\x08\x01", USER), Ok(()));
        for length in (1..role.len()).filter(|length| *length != 3) {
            assert_eq!(check(&role[..length], ROLE), Err(KeyValueError::Cut), "{length}");
        }
    }

    #[test]
    fn messages_that_etcd_cannot_decode_are_refused() {
        assert_eq!(check(b"\x0a\x01x", LEASE), Err(KeyValueError::Type));
        assert_eq!(check(b"\x12\x02\x0a\x00", ROLE), Err(KeyValueError::Type));
        assert_eq!(check(b"\x00\x01", USER), Err(KeyValueError::NoField));
        assert_eq!(check(b"\x2b", USER), Err(KeyValueError::Type));
        // An unknown field, as from a later etcd.
        assert_eq!(check(b"\x30\x01", USER), Ok(()));
    }
}
