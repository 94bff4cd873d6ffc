//! The archive's bytes are encrypted, hashed and counted, and written to the file. A copy goes to the checker.

use std::fs::File;
use std::io::{self, PipeWriter, Write as _};

use age::stream::StreamWriter;
use age::{Encryptor, Recipient};
use nightshift_core::digest::{HashedWriter, Written};

use crate::error::PackError;

/// The file of an archive and its checker.
pub(crate) struct Output<'f> {
    file: Encryption<'f>,
    /// Gets the bytes before their encryption: this host may be unable to decrypt them.
    checker: PipeWriter,
}

enum Encryption<'f> {
    None(HashedWriter<&'f File>),
    Age(Box<StreamWriter<HashedWriter<&'f File>>>),
}

impl<'f> Output<'f> {
    /// Without recipients the archive is not encrypted.
    pub fn new(file: &'f File, recipients: &[String], checker: PipeWriter) -> Result<Self, PackError> {
        let hashed = HashedWriter::new(file);
        let file = if recipients.is_empty() {
            Encryption::None(hashed)
        } else {
            let keys = recipients.iter().map(|text| parse_recipient(text)).collect::<Result<Vec<_>, _>>()?;
            let keys = keys.iter().map(|key| key as &dyn Recipient);
            let encryptor = Encryptor::with_recipients(keys).map_err(PackError::Encrypt)?;
            Encryption::Age(Box::new(encryptor.wrap_output(hashed)?))
        };
        Ok(Self { file, checker })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        let ended = |_| PackError::Checker(io::Error::other("it ended before the archive did"));
        self.checker.write_all(bytes).map_err(ended)?;
        match &mut self.file {
            Encryption::None(file) => file.write_all(bytes)?,
            Encryption::Age(age) => age.write_all(bytes)?,
        }
        Ok(())
    }

    /// Ends the encryption and closes the checker's input. Returns the size and hash of the file, as `stat` and
    /// `sha256sum` print them. The file is not synced.
    pub fn finish(self) -> Result<Written, PackError> {
        drop(self.checker);
        let hashed = match self.file {
            Encryption::None(hashed) => hashed,
            Encryption::Age(age) => age.finish()?,
        };
        Ok(hashed.finish().1)
    }
}

fn parse_recipient(text: &str) -> Result<age::x25519::Recipient, PackError> {
    text.parse()
        .map_err(|reason| PackError::Recipient { recipient: text.chars().take(100).collect(), reason })
}
