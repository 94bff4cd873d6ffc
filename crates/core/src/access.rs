//! Who may use a file beyond its mode: its ACL, and the capabilities that its program gets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The extended attributes of an item that a restore needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// What files in the directory begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_acl: Option<Acl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
}

/// A POSIX ACL. As text it is as `getfacl --omit-header --numeric` prints it, with commas: `user::rw-,user:1000:r--,group::---,…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Acl(Vec<Entry>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// Of a named user or group.
    id: u32,
    /// Three bits: read, write, execute.
    permissions: u16,
}

/// The tags of Linux' `system.posix_acl_access` (include/uapi/linux/posix_acl.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    UserObj = 0x01,
    User = 0x02,
    GroupObj = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

/// The text is not that of an ACL or a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid {0}")]
pub struct InvalidAccess(&'static str);

const INVALID_ACL: InvalidAccess = InvalidAccess("ACL");
const INVALID_CAPABILITY: InvalidAccess = InvalidAccess("file capability");

impl Acl {
    /// Linux stores at most 64 KiB.
    const MAX_ENTRIES: usize = 8192;
    /// Of the format of the attribute (include/uapi/linux/posix_acl_xattr.h), little-endian.
    const VERSION: u32 = 2;

    /// Reads the value of `system.posix_acl_access` or `system.posix_acl_default`.
    pub fn from_xattr(value: &[u8]) -> Result<Self, InvalidAccess> {
        let (version, entries) = value.split_first_chunk::<4>().ok_or(INVALID_ACL)?;
        let (entries, rest) = entries.as_chunks::<8>();
        if u32::from_le_bytes(*version) != Self::VERSION || !rest.is_empty() {
            return Err(INVALID_ACL);
        }
        let entry = |[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; 8]| {
            let tag = Tag::ALL.into_iter().find(|tag| *tag as u16 == u16::from_le_bytes([*t0, *t1]))?;
            let id = if tag.is_named() { u32::from_le_bytes([*i0, *i1, *i2, *i3]) } else { 0 };
            Some(Entry { tag, id, permissions: u16::from_le_bytes([*p0, *p1]) & 7 })
        };
        entries.iter().map(entry).collect::<Option<_>>().map(Self).ok_or(INVALID_ACL)
    }

    /// The value of the attribute.
    pub fn to_xattr(&self) -> Vec<u8> {
        let entry = |entry: &Entry| {
            let id = if entry.tag.is_named() { entry.id } else { u32::MAX };
            let (tag, permissions) = ((entry.tag as u16).to_le_bytes(), entry.permissions.to_le_bytes());
            [&tag[..], &permissions, &id.to_le_bytes()].concat()
        };
        let entries = self.0.iter().flat_map(entry);
        Self::VERSION.to_le_bytes().into_iter().chain(entries).collect()
    }

    /// The mode without the ACL. With it, the bits of the group are those of the mask, and may be more than the owning group has.
    pub fn mode_without_it(&self, mode: u32) -> u32 {
        let of = |tag| self.0.iter().find(|entry| entry.tag == tag).map(|entry| entry.permissions);
        match of(Tag::GroupObj) {
            Some(group) => mode & !0o070 | u32::from(group & of(Tag::Mask).unwrap_or(7)) << 3,
            None => mode,
        }
    }
}

impl Tag {
    const ALL: [Self; 6] = [Self::UserObj, Self::User, Self::GroupObj, Self::Group, Self::Mask, Self::Other];

    const fn name(self) -> &'static str {
        match self {
            Self::UserObj | Self::User => "user",
            Self::GroupObj | Self::Group => "group",
            Self::Mask => "mask",
            Self::Other => "other",
        }
    }

    const fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Entry { tag, id, permissions }) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let id = if tag.is_named() { id.to_string() } else { String::new() };
            let bit = |bit: u16, letter: char| if permissions & bit > 0 { letter } else { '-' };
            write!(f, "{comma}{}:{id}:{}{}{}", tag.name(), bit(4, 'r'), bit(2, 'w'), bit(1, 'x'))?;
        }
        Ok(())
    }
}

impl FromStr for Acl {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, InvalidAccess> {
        let entry = |text: &str| {
            let mut parts = text.split(':');
            let (name, id, permissions) = (parts.next()?, parts.next()?, parts.next()?);
            let is_named = |tag: &Tag| tag.name() == name && tag.is_named() != id.is_empty();
            let tag = Tag::ALL.into_iter().find(is_named)?;
            let id = if id.is_empty() { 0 } else { id.parse().ok()? };
            let bits = ["r--", "-w-", "--x"].iter().zip([4u16, 2, 1]);
            let permissions = match permissions.as_bytes() {
                bytes @ [_, _, _] => bits
                    .zip(bytes)
                    .map(|((letters, bit), byte)| match (letters.as_bytes().contains(byte), byte) {
                        (_, b'-') => Some(0),
                        (true, _) => Some(bit),
                        (false, _) => None,
                    })
                    .sum::<Option<u16>>()?,
                _ => return None,
            };
            parts.next().is_none().then_some(Entry { tag, id, permissions })
        };
        let entries: Vec<Entry> = text
            .split(',')
            .take(Self::MAX_ENTRIES + 1)
            .map(entry)
            .collect::<Option<_>>()
            .ok_or(INVALID_ACL)?;
        if entries.len() > Self::MAX_ENTRIES { Err(INVALID_ACL) } else { Ok(Self(entries)) }
    }
}

/// The value of `security.capability`. As text it is as `getfattr -e hex` prints it and `setfattr` takes it: `0x0100…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(Vec<u8>);

impl Capability {
    /// Twice the largest one, of version 3 with the id of root's user.
    const MAX_LEN: usize = 48;

    pub fn from_xattr(value: &[u8]) -> Result<Self, InvalidAccess> {
        if value.is_empty() || value.len() > Self::MAX_LEN {
            Err(INVALID_CAPABILITY)
        } else {
            Ok(Self(value.to_vec()))
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Capability {
    type Err = InvalidAccess;

    fn from_str(text: &str) -> Result<Self, InvalidAccess> {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() <= 2 * Self::MAX_LEN);
        let (pairs, rest) = digits.ok_or(INVALID_CAPABILITY)?.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        Self::from_xattr(&bytes.filter(|_| rest.is_empty()).ok_or(INVALID_CAPABILITY)?)
    }
}

/// Text is the form in which both are stored.
macro_rules! stored_as_text {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = InvalidAccess;
            fn try_from(text: String) -> Result<Self, InvalidAccess> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

stored_as_text!(Acl);
stored_as_text!(Capability);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "user::rw-,user:1000:r--,group::---,mask::r--,other::---";

    fn xattr() -> Vec<u8> {
        let entry = |tag: u16, permissions: u16, id: u32| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let none = u32::MAX;
        let entries =
            [entry(1, 6, none), entry(2, 4, 1000), entry(4, 0, none), entry(16, 4, none), entry(32, 0, none)];
        [2u32.to_le_bytes().to_vec(), entries.concat()].concat()
    }

    #[test]
    fn an_acl_is_read_from_its_attribute_and_from_its_text() {
        let acl = Acl::from_xattr(&xattr()).unwrap();
        assert_eq!(acl.to_xattr(), xattr());
        assert_eq!((acl.to_string().as_str(), TEXT.parse()), (TEXT, Ok(acl)));
        for bad in [
            "",
            "user:rw-",
            "user::rwxx",
            "user::xwr",
            "owner::rw-",
            "mask:3:r--",
            "user::rw-:0",
            "user::rw-,",
        ] {
            assert_eq!(bad.parse::<Acl>(), Err(INVALID_ACL), "{bad}");
        }
        let cut = &xattr()[..30];
        assert_eq!(
            (Acl::from_xattr(cut), Acl::from_xattr(b"\x03\0\0\0")),
            (Err(INVALID_ACL), Err(INVALID_ACL))
        );
    }

    #[test]
    fn the_mode_without_an_acl_gives_the_group_no_more_than_the_acl_does() {
        let mode = |acl: &str, mode| acl.parse::<Acl>().unwrap().mode_without_it(mode);
        assert_eq!(mode(TEXT, 0o640), 0o600);
        assert_eq!(mode("user::rw-,user:7:rwx,group::rwx,mask::r-x,other::---", 0o650), 0o650);
        assert_eq!(mode("user::rw-,group::r--,other::r--", 0o644), 0o644);
    }

    #[test]
    fn a_capability_is_written_as_setfattr_takes_it() {
        let capability = Capability::from_xattr(&[1, 0, 0, 2, 0xff]).unwrap();
        assert_eq!(
            (capability.to_string().as_str(), "0x01000002ff".parse()),
            ("0x01000002ff", Ok(capability))
        );
        for bad in ["", "0x", "01", "0x1", "0xgg", &format!("0x{}", "00".repeat(49))] {
            assert_eq!(bad.parse::<Capability>(), Err(INVALID_CAPABILITY), "{bad}");
        }
    }
}
