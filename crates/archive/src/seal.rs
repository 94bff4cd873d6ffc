//! Where an archive's bytes go: through encryption, hashed and counted, into the file, and to the reader
//! that checks them.

use std::fs::File;
use std::io::{self, Write};

use age::stream::StreamWriter;
use age::{Encryptor, Recipient};
use nightshift_core::digest::{Digest, Hasher};

use crate::error::{Halt, PackError};
use crate::pipe::PipeWriter;

/// Both ways that the compressed bytes go.
pub(crate) struct Output<'f> {
    seal: Seal<'f>,
    /// Gets the bytes as they are before encryption, for nobody here may be able to decrypt them.
    checker: PipeWriter,
}

enum Seal<'f> {
    Plain(Measured<'f>),
    Encrypted(Box<StreamWriter<Measured<'f>>>),
}

/// The file, and what was written to it.
struct Measured<'f> {
    file: &'f File,
    hasher: Hasher,
    bytes: u64,
}

/// The finished file as `sha256sum` and `stat` see it.
pub(crate) struct Sealed {
    pub bytes: u64,
    pub sha256: Digest,
}

impl<'f> Output<'f> {
    /// Without recipients the archive is not encrypted.
    pub fn new(file: &'f File, recipients: &[String], checker: PipeWriter) -> Result<Self, PackError> {
        let measured = Measured { file, hasher: Hasher::default(), bytes: 0 };
        let seal = if recipients.is_empty() {
            Seal::Plain(measured)
        } else {
            let keys = recipients.iter().map(|text| parse_recipient(text)).collect::<Result<Vec<_>, _>>()?;
            let keys = keys.iter().map(|key| key as &dyn Recipient);
            let encryptor = Encryptor::with_recipients(keys).map_err(PackError::Encrypt)?;
            Seal::Encrypted(Box::new(encryptor.wrap_output(measured).map_err(PackError::Write)?))
        };
        Ok(Self { seal, checker })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.checker.send(bytes)?;
        match &mut self.seal {
            Seal::Plain(file) => file.write_all(bytes)?,
            Seal::Encrypted(age) => age.write_all(bytes)?,
        }
        Ok(())
    }

    /// Ends the encryption and brings the file to the disk; the checker learns that this was all.
    pub fn finish(self) -> Result<Sealed, Halt> {
        drop(self.checker);
        let measured = match self.seal {
            Seal::Plain(file) => file,
            Seal::Encrypted(age) => age.finish()?,
        };
        measured.file.sync_all()?;
        Ok(Sealed { bytes: measured.bytes, sha256: measured.hasher.finish() })
    }
}

impl Write for Measured<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parse_recipient(text: &str) -> Result<age::x25519::Recipient, PackError> {
    text.parse().map_err(|why| PackError::Recipient { recipient: text.chars().take(100).collect(), why })
}
