//! Opens an encrypted archive: for a command in the foreground only, for the daemon has no identity.

use std::io::{self, BufRead, BufReader, Read};

use age::{Decryptor, Identity, IdentityFile};

/// The private keys of an identity file.
pub struct Identities(Vec<Box<dyn Identity>>);

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the identity file cannot be read: lines such as `AGE-SECRET-KEY-1…` are expected")]
    Read(#[source] io::Error),
    #[error("the identity file holds no usable key")]
    Keys(#[source] age::DecryptError),
    #[error("the archive cannot be decrypted")]
    Decrypt(#[source] age::DecryptError),
}

impl Identities {
    /// Reads an identity file as `age-keygen` writes it.
    pub fn read(file: impl BufRead) -> Result<Self, IdentityError> {
        let file = IdentityFile::from_buffer(file).map_err(IdentityError::Read)?;
        Ok(Self(file.into_identities().map_err(IdentityError::Keys)?))
    }
}

/// The archive inside, for `list_blocking`. A part that was changed or cut off is an error of its `read`.
pub fn open_encrypted<R: Read>(
    reader: R,
    identities: &Identities,
) -> Result<impl Read + use<R>, IdentityError> {
    let decryptor = Decryptor::new_buffered(BufReader::new(reader)).map_err(IdentityError::Decrypt)?;
    let keys = identities.0.iter().map(|identity| &**identity);
    decryptor.decrypt(keys).map_err(IdentityError::Decrypt)
}
