//! The keys of one or several encryption configurations.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::cipher::Cipher;
use crate::encrypted::ENCRYPTED;

/// The maximum number of keys: more than any rotation leaves behind.
const MAX_KEYS: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionKey {
    pub cipher: Cipher,
    pub name: String,
    secret: Secret,
}

/// Serialized only to be sent to the drill's own process: it is never logged and never written to a file.
#[derive(Clone, PartialEq, Eq)]
struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Zeroizing::new(STANDARD.encode(&*self.0)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let invalid = |_| serde::de::Error::custom("the key is not Base64");
        STANDARD.decode(&*text).map(|bytes| Self(Zeroizing::new(bytes))).map_err(invalid)
    }
}

impl EncryptionKey {
    /// `None` if the cipher does not accept a key of this length.
    pub fn new(cipher: Cipher, name: &str, secret: &[u8]) -> Option<Self> {
        let secret = Secret(Zeroizing::new(secret.to_vec()));
        cipher.accepts(secret.0.len()).then(|| Self { cipher, name: name.to_owned(), secret })
    }

    /// What follows the key's prefix in a value that names this key.
    fn content<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        let rest = value.strip_prefix(ENCRYPTED)?.strip_prefix(self.cipher.as_str().as_bytes())?;
        rest.strip_prefix(b":v1:")?.strip_prefix(self.name.as_bytes())?.strip_prefix(b":")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keyring(Vec<EncryptionKey>);

impl Keyring {
    /// Adds keys, each once. Masters usually have the same ones.
    pub fn extend(&mut self, keys: impl IntoIterator<Item = EncryptionKey>) {
        for key in keys {
            if self.0.len() < MAX_KEYS && !self.0.contains(&key) {
                self.0.push(key);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it contains a key of this name.
    pub fn names(&self, cipher: Cipher, name: &str) -> bool {
        self.0.iter().any(|key| key.cipher == cipher && key.name == name)
    }

    /// Decrypts the value of an etcd key. Two keys may have the same name, as the API server allows, so each is tried.
    pub fn decrypt(&self, path: &[u8], value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.0.iter().find_map(|key| key.cipher.decrypt(&key.secret.0, path, key.content(value)?))
    }
}

impl IntoIterator for Keyring {
    type Item = EncryptionKey;
    type IntoIter = std::vec::IntoIter<EncryptionKey>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
