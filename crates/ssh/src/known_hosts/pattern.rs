//! The host field of a line of known_hosts.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The host field of a line. It is compared with lower-case names, which contain a port other than 22 as `[name]:port`.
#[derive(Debug, Clone)]
pub(super) enum Hosts {
    Patterns {
        included: Vec<String>,
        excluded: Vec<String>,
    },
    /// One name, as its HMAC-SHA1 with a salt.
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

impl Hosts {
    pub fn parse(field: &str) -> Result<Self, String> {
        if field.starts_with('|') {
            return Self::parse_hashed(field).ok_or_else(|| format!("invalid hashed host name {field:?}"));
        }
        let mut included = Vec::new();
        let mut excluded = Vec::new();
        for pattern in field.split(',').filter(|pattern| !pattern.is_empty()) {
            match pattern.strip_prefix('!') {
                Some(pattern) => excluded.push(pattern.to_ascii_lowercase()),
                None => included.push(pattern.to_ascii_lowercase()),
            }
        }
        Ok(Self::Patterns { included, excluded })
    }

    fn parse_hashed(field: &str) -> Option<Self> {
        let (salt, hash) = field.strip_prefix("|1|")?.split_once('|')?;
        let salt = BASE64_STANDARD.decode(salt).ok()?;
        let hash = BASE64_STANDARD.decode(hash).ok()?;
        (hash.len() == 20).then_some(Self::Hashed { salt, hash })
    }

    /// Whether a pattern of this line includes the name and none excludes it.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Patterns { included, .. } => {
                included.iter().any(|pattern| glob(pattern, name)) && !self.excludes(name)
            }
            Self::Hashed { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
        }
    }

    /// Whether this line is for nothing else than these names, each written out.
    pub fn is_only(&self, names: &[String]) -> bool {
        match self {
            Self::Patterns { included, excluded } => {
                excluded.is_empty() && included.iter().all(|pattern| names.contains(pattern))
            }
            Self::Hashed { .. } => true,
        }
    }

    /// Whether a `!pattern` of this line matches the name.
    pub fn excludes(&self, name: &str) -> bool {
        match self {
            Self::Patterns { excluded, .. } => excluded.iter().any(|pattern| glob(pattern, name)),
            Self::Hashed { .. } => false,
        }
    }
}

/// `*` matches any number of characters, `?` exactly one. It needs linear space and at most quadratic time.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                retry = Some((p, t));
                p += 1;
            }
            (Some(b'?'), Some(_)) => (p, t) = (p + 1, t + 1),
            (Some(wanted), Some(found)) if wanted == found => (p, t) = (p + 1, t + 1),
            (None, None) => return true,
            (_, found) => match (retry, found) {
                (Some((star, at)), _) if at < text.len() => {
                    retry = Some((star, at + 1));
                    (p, t) = (star + 1, at + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn wildcards_match_as_in_openssh() {
        for (pattern, text, matches) in [
            ("node*.example.com", "node07.example.com", true),
            ("node?.example.com", "node07.example.com", false),
            ("node??.example.com", "node07.example.com", true),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*a", "b", false),
            ("[10.0.0.*]:2222", "[10.0.0.7]:2222", true),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} ~ {text}");
        }
    }
}
