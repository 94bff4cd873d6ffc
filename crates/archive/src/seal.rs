//! Where an archive's bytes go: through encryption, hashed and counted, into the file, and to the reader
//! that checks them.

use std::fs::File;
use std::io::{PipeWriter, Write as _};

use age::stream::StreamWriter;
use age::{Encryptor, Recipient};
use nightshift_core::digest::{HashedWriter, Written};

use crate::error::{Halt, PackError};

/// Both ways that the compressed bytes go.
pub(crate) struct Output<'f> {
    seal: Seal<'f>,
    /// Gets the bytes as they are before encryption, for nobody here may be able to decrypt them.
    checker: PipeWriter,
}

enum Seal<'f> {
    Plain(HashedWriter<&'f File>),
    Encrypted(Box<StreamWriter<HashedWriter<&'f File>>>),
}

impl<'f> Output<'f> {
    /// Without recipients the archive is not encrypted.
    pub fn new(file: &'f File, recipients: &[String], checker: PipeWriter) -> Result<Self, PackError> {
        let hashed = HashedWriter::new(file);
        let seal = if recipients.is_empty() {
            Seal::Plain(hashed)
        } else {
            let keys = recipients.iter().map(|text| parse_recipient(text)).collect::<Result<Vec<_>, _>>()?;
            let keys = keys.iter().map(|key| key as &dyn Recipient);
            let encryptor = Encryptor::with_recipients(keys).map_err(PackError::Encrypt)?;
            Seal::Encrypted(Box::new(encryptor.wrap_output(hashed).map_err(PackError::Write)?))
        };
        Ok(Self { seal, checker })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        self.checker.write_all(bytes).map_err(|_| Halt::CheckerEnded)?;
        match &mut self.seal {
            Seal::Plain(file) => file.write_all(bytes)?,
            Seal::Encrypted(age) => age.write_all(bytes)?,
        }
        Ok(())
    }

    /// Ends the encryption and closes the checker's input. Returns the size and hash of the file, as `stat` and
    /// `sha256sum` print them. The file is not synced.
    pub fn finish(self) -> Result<Written, Halt> {
        drop(self.checker);
        let hashed = match self.seal {
            Seal::Plain(hashed) => hashed,
            Seal::Encrypted(age) => age.finish()?,
        };
        Ok(hashed.finish().1)
    }
}

fn parse_recipient(text: &str) -> Result<age::x25519::Recipient, PackError> {
    text.parse().map_err(|why| PackError::Recipient { recipient: text.chars().take(100).collect(), why })
}
