//! Values that the API server encrypted, and the keys in its encryption configuration.
//!
//! Sources: Kubernetes, `apiserver/pkg/server/options/encryptionconfig/config.go` for the configuration and the prefixes of
//! values, `apiserver/pkg/storage/value/encrypt/{aes,secretbox}` for their content.

mod cipher;
mod config;
mod keyring;
mod tally;
#[cfg(test)]
mod tests;

pub use cipher::Cipher;
pub use config::{ConfigError, is_configuration};
pub use keyring::{EncryptionKey, Keyring};
pub use tally::{EncryptedValues, KeyUse, Tally};
