//! Objects of a snapshot: found in one reading of it, and decrypted with the keys of the API server.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use nightshift_snapshot::{Change, Cipher, Database, Encrypted, Keyring, ReadAt, ReadError, Revision, scan};
use zeroize::Zeroizing;

use crate::found::Found;
use crate::metadata::{self, Format};
use crate::object::Object;
use crate::wanted::Wanted;

/// More objects than a namespace has, and few enough to be kept in memory without their values.
const MAX_OBJECTS: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read the snapshot")]
    Read(#[from] ReadError),
    #[error("more than {MAX_OBJECTS} keys match; name fewer objects")]
    TooMany,
    #[error("{0}")]
    Unusable(String),
}

/// A snapshot, and the keys that decrypt its values.
pub struct Source<S> {
    database: Database<S>,
    keyring: Keyring,
}

impl<S: ReadAt> Source<S> {
    pub fn new(database: Database<S>, keyring: Keyring) -> Self {
        Self { database, keyring }
    }

    /// Finds the objects. Only keys and metadata are kept in memory.
    pub fn find(&self, wanted: &Wanted) -> Result<Found, SourceError> {
        let mut found = Found::default();
        let mut newest: BTreeMap<Vec<u8>, (Revision, bool)> = BTreeMap::new();
        let mut too_many = false;
        found.findings = scan(&self.database, |change| {
            found.revision = change.revision.main;
            let key = change.content.key;
            if wanted.may_be(key) {
                newest.insert(key.to_vec(), (change.revision, change.tombstone));
                too_many = newest.len() > MAX_OBJECTS;
            }
            if too_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if too_many {
            return Err(SourceError::TooMany);
        }
        for (key, (revision, is_deleted)) in newest {
            if is_deleted {
                found.deleted.push((key, revision.main));
                continue;
            }
            match self.plain(&key, revision) {
                Ok(body) => match (Format::of(&body), metadata::read(&body)) {
                    (Some(format), Some(meta)) if wanted.is(&key, &meta) => {
                        found.objects.push(Object { key, revision, format, meta });
                    }
                    (Some(_), Some(_)) => {}
                    _ => found.unusable.push((key, "its value is not an object of Kubernetes".to_owned())),
                },
                Err(SourceError::Unusable(reason)) => found.unusable.push((key, reason)),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The stored bytes of an object, decrypted: the body of a request.
    pub fn body(&self, object: &Object) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        self.plain(&object.key, object.revision)
    }

    fn plain(&self, key: &[u8], revision: Revision) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let value = self.value(revision)?;
        let Some(by) = Encrypted::of(&value) else { return Ok(value) };
        self.keyring.decrypt(key, &value).ok_or_else(|| SourceError::Unusable(self.why_encrypted(&by)))
    }

    fn why_encrypted(&self, by: &Encrypted) -> String {
        let Encrypted { provider, key } = by;
        let name = key.as_deref().unwrap_or("without a name");
        match Cipher::of(provider) {
            None => format!("it is encrypted by {provider}, whose keys are outside of the cluster's files"),
            Some(cipher) if self.keyring.names(cipher, name) => {
                format!(
                    "key {name:?} ({provider}) does not decrypt it: another key of that name, or a damaged value"
                )
            }
            Some(_) => format!(
                "it is encrypted with key {name:?} ({provider}), which no set of a master of this night contains; name the API \
                 server's file with --encryption-config"
            ),
        }
    }

    /// The value that was written in a revision.
    fn value(&self, revision: Revision) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let gone = || SourceError::Unusable(format!("revision {} cannot be read again", revision.main));
        let bucket = self.database.bucket(b"key")?.ok_or_else(gone)?;
        let mut cursor = self.database.cursor(&bucket)?;
        cursor.seek(&revision.to_bytes());
        let entry = cursor.next()?.ok_or_else(gone)?;
        let change = Change::parse(entry.key, entry.value).map_err(|_| gone())?;
        if change.revision != revision || change.tombstone {
            return Err(gone());
        }
        Ok(Zeroizing::new(change.content.value.to_vec()))
    }
}
