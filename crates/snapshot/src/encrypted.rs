//! The prefix of an encrypted value: `k8s:enc:<provider>:<version>:<key name>:`.

/// The prefix of every encrypted value.
pub const ENCRYPTED: &[u8] = b"k8s:enc:";
/// Longer names of providers or keys are not shown.
const MAX_NAME_LEN: usize = 253;

/// By what a value is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Encrypted {
    /// Such as `aescbc` or `kms`.
    pub provider: String,
    /// `None` if the value ends before it, or if it is not a name.
    pub key: Option<String>,
}

impl Encrypted {
    /// Reads the prefix of a value from an untrusted source; `None` if the value is not encrypted.
    pub fn of(value: &[u8]) -> Option<Self> {
        let mut names = value.strip_prefix(ENCRYPTED)?.split(|byte| *byte == b':').map(name);
        Some(Self { provider: names.next().flatten()?, key: names.nth(1).flatten() })
    }
}

fn name(bytes: &[u8]) -> Option<String> {
    let valid = bytes.len() <= MAX_NAME_LEN && bytes.iter().all(u8::is_ascii_graphic) && !bytes.is_empty();
    valid.then(|| String::from_utf8_lossy(bytes).into_owned())
}
