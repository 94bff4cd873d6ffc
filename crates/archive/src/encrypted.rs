//! Opens an encrypted archive. Only commands in the foreground do so: the daemon has no age identity.

use std::io::{self, BufRead, BufReader, Read};

use age::{Decryptor, Identity, IdentityFile};

/// The private keys of an identity file.
pub struct Identities {
    keys: Vec<Box<dyn Identity>>,
    /// Their public keys, as far as they are known without the program of a plugin.
    pub recipients: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot read the identity file (expected: lines such as `AGE-SECRET-KEY-1…`)")]
    Read(#[source] io::Error),
    #[error("the identity file has no usable key")]
    Keys(#[source] age::DecryptError),
    #[error("cannot decrypt the archive")]
    Decrypt(#[source] age::DecryptError),
}

impl Identities {
    /// Reads an identity file as `age-keygen` writes it.
    pub fn read(file: impl BufRead) -> Result<Self, IdentityError> {
        let file = IdentityFile::from_buffer(file).map_err(IdentityError::Read)?;
        let mut recipients = Vec::new();
        if file.write_recipients_file(&mut recipients).is_err() {
            recipients.clear();
        }
        let recipients = String::from_utf8_lossy(&recipients).lines().map(str::to_owned).collect();
        Ok(Self { keys: file.into_identities().map_err(IdentityError::Keys)?, recipients })
    }
}

/// Whether a file begins as age's do.
pub fn is_encrypted(head: &[u8]) -> bool {
    head.starts_with(b"age-encryption.org/")
}

/// The decrypted archive, for `visit_blocking`. If the file was changed or truncated, a `read` fails.
pub fn open_encrypted<R: Read>(
    reader: R,
    identities: &Identities,
) -> Result<impl Read + use<R>, IdentityError> {
    let decryptor = Decryptor::new_buffered(BufReader::new(reader)).map_err(IdentityError::Decrypt)?;
    let keys = identities.keys.iter().map(|identity| &**identity);
    decryptor.decrypt(keys).map_err(IdentityError::Decrypt)
}
