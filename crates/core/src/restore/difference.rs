//! How a machine's files differ from those of the plan.

use serde::{Deserialize, Serialize};

/// A file that a plan would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub path: String,
    pub now: Now,
}

/// What is at its place on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Now {
    Absent,
    /// A directory in the place of a file, for example.
    OtherKind,
    /// A link to this target.
    Link(String),
    /// Its content.
    Text(String),
    /// A private key: its content is not sent.
    Secret,
    /// Large, or not text.
    NotShown,
}

/// Of a text that is sent and shown, in bytes.
pub const MAX_SHOWN: u64 = 64 << 10;

/// Whether a file contains a private key, by its name and its content.
pub fn is_secret(path: &str, content: &[u8]) -> bool {
    let has = |part: &[u8]| content.windows(part.len()).any(|window| window == part);
    [".key", ".pem", "id_ed25519"].iter().any(|ending| path.ends_with(ending))
        || [&b"PRIVATE KEY"[..], b"-key-data", b"kind: EncryptionConfig"].into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_known_by_their_names_and_contents() {
        for (path, content) in [
            ("/etc/etcd/peer.key", ""),
            ("/etc/x", "-----BEGIN RSA PRIVATE KEY-----"),
            ("/etc/kubernetes/admin.conf", "users: [{ user: { client-key-data: AAAA } }]"),
            ("/etc/kubernetes/enc.yaml", "kind: EncryptionConfiguration\n"),
        ] {
            assert!(is_secret(path, content.as_bytes()), "{path}");
        }
        assert!(!is_secret("/etc/origin/master/master-config.yaml", b"keyFile: master.key\n"));
    }
}
