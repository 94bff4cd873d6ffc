//! Counts the encrypted values of a database during a walk, by provider and key, and decrypts them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;

use super::cipher::Cipher;
use super::keyring::Keyring;
use crate::change::{Change, Visitor};
use crate::encrypted::Encrypted;
use crate::entry::Location;

/// The maximum number of names of keys that are counted separately.
const MAX_NAMES: usize = 100;
/// The maximum number of encrypted values that are counted: about 64 MiB in memory. etcd's databases of 8 GiB have fewer.
const MAX_VALUES: usize = 2_000_000;

/// The current values of all keys, as far as they are encrypted. Older revisions do not count: they may be encrypted with a key
/// that was rotated away since.
#[derive(Debug)]
pub struct Tally<'k> {
    keyring: Option<&'k Keyring>,
    names: Vec<Encrypted>,
    /// By a hash of the key in etcd. The hashes are seeded, so a hostile database cannot have keys with the same one.
    current: HashMap<u64, Value>,
    hasher: RandomState,
    is_full: bool,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    /// The index of its name; none for those beyond the first [`MAX_NAMES`].
    name: Option<u8>,
    decrypted: bool,
}

/// The encrypted values of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptedValues {
    pub keys: Vec<KeyUse>,
    /// There are more values or names of keys than are counted.
    pub is_incomplete: bool,
}

/// The values that name one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    pub by: Encrypted,
    pub values: u64,
    pub decrypted: u64,
}

impl KeyUse {
    /// The cipher; `None` if the provider has its keys elsewhere (KMS) or is unknown.
    pub fn cipher(&self) -> Option<Cipher> {
        Cipher::of(&self.by.provider)
    }
}

impl<'k> Tally<'k> {
    /// Without a keyring the values are only counted.
    pub fn new(keyring: Option<&'k Keyring>) -> Self {
        Self {
            keyring,
            names: Vec::new(),
            current: HashMap::new(),
            hasher: RandomState::new(),
            is_full: false,
        }
    }

    fn name(&mut self, by: Encrypted) -> Option<u8> {
        let known = self.names.iter().position(|known| *known == by);
        let at = known.or_else(|| {
            (self.names.len() < MAX_NAMES).then(|| {
                self.names.push(by);
                self.names.len() - 1
            })
        });
        at.and_then(|at| u8::try_from(at).ok())
    }

    pub fn finish(self) -> EncryptedValues {
        let named = |by| KeyUse { by, values: 0, decrypted: 0 };
        let mut keys: Vec<KeyUse> = self.names.into_iter().map(named).collect();
        let mut is_incomplete = self.is_full;
        for value in self.current.values() {
            match value.name.and_then(|name| keys.get_mut(usize::from(name))) {
                Some(key) => {
                    key.values += 1;
                    key.decrypted += u64::from(value.decrypted);
                }
                None => is_incomplete = true,
            }
        }
        keys.retain(|key| key.values > 0);
        keys.sort_by(|a, b| a.by.cmp(&b.by));
        EncryptedValues { keys, is_incomplete }
    }
}

impl Visitor for Tally<'_> {
    fn change(&mut self, change: &Change<'_>, _: Location) -> io::Result<()> {
        let (path, value) = (change.content.key, change.content.value);
        let encrypted = if change.tombstone { None } else { Encrypted::of(value) };
        match encrypted {
            None if self.current.is_empty() => {}
            None => drop(self.current.remove(&self.hasher.hash_one(path))),
            Some(by) => {
                let hash = self.hasher.hash_one(path);
                if self.current.len() >= MAX_VALUES && !self.current.contains_key(&hash) {
                    self.is_full = true;
                    return Ok(());
                }
                let decrypted = self.keyring.is_some_and(|keyring| keyring.decrypt(path, value).is_some());
                let name = self.name(by);
                self.current.insert(hash, Value { name, decrypted });
            }
        }
        Ok(())
    }
}

/// Two visitors of one walk.
impl<A: Visitor, B: Visitor> Visitor for (A, B) {
    fn change(&mut self, change: &Change<'_>, at: Location) -> io::Result<()> {
        self.0.change(change, at)?;
        self.1.change(change, at)
    }
}
