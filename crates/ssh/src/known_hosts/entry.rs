//! One line of known_hosts.

use jiff::Timestamp;
use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use super::pattern::Hosts;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    None,
    CertAuthority,
    Revoked,
    /// Replaced at this time: the host shows another key since. Signatures from before are still its own.
    Former(Timestamp),
}

/// How a line of a former key begins. OpenSSH takes it for a comment.
pub(super) const FORMER: &str = "#nightshift-former";

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub marker: Marker,
    pub hosts: Hosts,
    /// `None` for a key type that is never negotiated, such as `ssh-dss`: such a line matches no key.
    pub key: Option<KeyData>,
}

impl Entry {
    /// Reads one line; `None` for blank lines and comments.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
        let Some(mut first) = fields.next().filter(|field| *field == FORMER || !field.starts_with('#'))
        else {
            return Ok(None);
        };
        let mut marker = Marker::None;
        if first == FORMER {
            let until = fields.next().and_then(|time| time.parse().ok());
            marker = Marker::Former(
                until.ok_or("this line of a former key has no time such as 2026-11-22T08:00:00Z")?,
            );
            first = fields.next().ok_or("this line has a time without a host")?;
        } else if first.starts_with('@') {
            marker = match first {
                "@cert-authority" => Marker::CertAuthority,
                "@revoked" => Marker::Revoked,
                other => {
                    return Err(format!("unknown marker {other:?}; expected @cert-authority or @revoked"));
                }
            };
            first = fields.next().ok_or("this line has a marker without a host")?;
        }
        let hosts = Hosts::parse(first)?;
        let key_type = fields.next().ok_or("this line has a host without a key")?;
        let encoded = fields.next().ok_or("this line has a key type without a key")?;
        Ok(Some(Self { marker, hosts, key: parse_key(key_type, encoded)? }))
    }

    /// Whether a line has one of these names in the place of its hosts; the rest of it may be invalid.
    pub fn is_for_any(line: &str, lookups: &[String]) -> bool {
        let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
        let first = fields.next().filter(|field| !field.starts_with('@'));
        let hosts = first.or_else(|| fields.next()).map(Hosts::parse);
        hosts.is_some_and(|hosts| hosts.is_ok_and(|hosts| lookups.iter().any(|name| hosts.matches(name))))
    }

    /// When the key was replaced, if it is a former one.
    pub const fn replaced(&self) -> Option<Timestamp> {
        match self.marker {
            Marker::Former(at) => Some(at),
            Marker::None | Marker::CertAuthority | Marker::Revoked => None,
        }
    }

    /// Whether this line matches one of the names and excludes none of them.
    pub fn applies_to(&self, lookups: &[String]) -> bool {
        lookups.iter().any(|name| self.hosts.matches(name))
            && !lookups.iter().any(|name| self.hosts.excludes(name))
    }
}

const NEGOTIATED_TYPES: [&str; 5] =
    ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

fn parse_key(key_type: &str, encoded: &str) -> Result<Option<KeyData>, String> {
    if !NEGOTIATED_TYPES.contains(&key_type) {
        // In a line of SSH protocol 1 this is a number; in a damaged line it can be anything.
        let is_a_type = key_type.contains("ssh-") || key_type.contains("ecdsa-") || key_type.contains('@');
        return if is_a_type { Ok(None) } else { Err(format!("{key_type:?} is not a key type")) };
    }
    PublicKey::from_openssh(&format!("{key_type} {encoded}"))
        .map(|key| Some(key.key_data().clone()))
        .map_err(|error| format!("invalid {key_type} key: {error}"))
}
