//! The API server's encryption configuration (`--encryption-provider-config`): the keys in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::cipher::Cipher;
use super::keyring::{EncryptionKey, Keyring};

/// `kind` in `apiserver.config.k8s.io/v1`, and in `v1` up to Kubernetes 1.12 and OpenShift 3.11.
const KINDS: [&str; 2] = ["EncryptionConfiguration", "EncryptionConfig"];

/// Why a file is not a usable encryption configuration. The messages contain nothing of the file but names of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("it is not valid YAML with the fields of an EncryptionConfiguration{}", .line.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Shape { line: Option<u64> },
    #[error("it is not an EncryptionConfiguration")]
    OtherKind,
    #[error("key {:?} of {} is not Base64 of a length that the provider accepts", .name, .provider)]
    Key { provider: &'static str, name: String },
}

#[derive(Deserialize)]
struct Configuration {
    kind: String,
    #[serde(default)]
    resources: Vec<Resources>,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    providers: Vec<Provider>,
}

/// Other providers, which have no keys here, are ignored: `kms` and `identity`.
#[derive(Deserialize)]
struct Provider {
    #[serde(default)]
    aescbc: Option<Keys>,
    #[serde(default)]
    aesgcm: Option<Keys>,
    #[serde(default)]
    secretbox: Option<Keys>,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    name: String,
    #[serde(deserialize_with = "wiped")]
    secret: Zeroizing<String>,
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Whether a text may be such a configuration: it names the kind. Cheap, for a search in many files.
pub fn is_configuration(text: &str) -> bool {
    text.contains(KINDS[1])
}

impl Keyring {
    /// Reads the keys of a configuration in YAML or JSON from an untrusted source.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        // Larger than any configuration needs; it bounds the cost of a hostile one.
        let limits = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_documents: 1,
                max_events: 20_000,
                max_nodes: 10_000,
                max_depth: 64,
                max_anchors: 0,
                max_aliases: 0,
            },
        };
        // The parser's own message quotes lines of the file, which contain keys.
        let read: Configuration = serde_saphyr::from_str_with_options(text, limits)
            .map_err(|error| ConfigError::Shape { line: error.location().map(|location| location.line()) })?;
        if !KINDS.contains(&read.kind.as_str()) {
            return Err(ConfigError::OtherKind);
        }
        let mut keyring = Self::default();
        for provider in read.resources.into_iter().flat_map(|resources| resources.providers) {
            let Provider { aescbc, aesgcm, secretbox } = provider;
            let ciphers = Cipher::ALL.into_iter();
            for (cipher, keys) in ciphers.zip([aescbc, aesgcm, secretbox]) {
                for key in keys.into_iter().flat_map(|keys| keys.keys) {
                    keyring.extend([read_key(cipher, key)?]);
                }
            }
        }
        Ok(keyring)
    }
}

fn read_key(cipher: Cipher, Key { name, secret }: Key) -> Result<EncryptionKey, ConfigError> {
    // Go's decoder, which the API server uses, skips line breaks.
    let text = Zeroizing::new(secret.replace(['\r', '\n'], ""));
    let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new).ok();
    bytes
        .and_then(|bytes| EncryptionKey::new(cipher, &name, &bytes))
        .ok_or(ConfigError::Key { provider: cipher.as_str(), name })
}
