//! What a file contains, by its first bytes: files are renamed by browsers, scripts and operators.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use nightshift_archive::{Identities, TarHead, is_encrypted, open_encrypted};
use nightshift_core::archive::ArchiveName;
use nightshift_store::packing::Packing;

use super::CommandError;

/// As many bytes as the formats below need to be recognised.
const HEAD: usize = 64;

/// Formats that nightshift does not read, by their first bytes.
const OTHERS: [(&[u8], &str); 7] = [
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "encrypted by age with --armor; decrypt it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\xfd7zXZ\0", "compressed with xz; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"\x78\x01", "compressed with zlib; unpack it first"),
    (b"\x78\x9c", "compressed with zlib; unpack it first"),
    (b"\x78\xda", "compressed with zlib; unpack it first"),
];

pub enum Content {
    Archive(ArchiveName),
    /// Anything that may be a snapshot.
    Snapshot,
}

/// A file without its encryption, and how the rest is packed.
pub struct Plain {
    pub reader: Box<dyn Read + Send>,
    pub packing: Packing,
    pub encrypted: bool,
}

/// Opens a file, and decrypts it if it is encrypted.
pub fn open(path: &Path, identity: Option<&Path>) -> Result<Plain, CommandError> {
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let (head, reader) = peeked(File::open(path).map_err(failed)?).map_err(failed)?;
    if !is_encrypted(&head) {
        refuse_others(path, &head)?;
        return Ok(Plain { reader, packing: Packing::of(&head), encrypted: false });
    }
    let identities = identities(path, identity)?;
    let decrypted = open_encrypted(reader, &identities)
        .map_err(CommandError::failed(format!("cannot decrypt {}", path.display())))?;
    let (head, reader) = peeked(decrypted).map_err(failed)?;
    refuse_others(path, &head)?;
    Ok(Plain { reader, packing: Packing::of(&head), encrypted: true })
}

/// The keys that decrypt a file.
pub fn identities(encrypted: &Path, identity: Option<&Path>) -> Result<Identities, CommandError> {
    let Some(identity) = identity else {
        return Err(CommandError::Usage(format!(
            "{} is encrypted; name the file with your age identity with --identity",
            encrypted.display()
        )));
    };
    let file =
        File::open(identity).map_err(|source| CommandError::Read { path: identity.to_owned(), source })?;
    let unusable = |error| CommandError::Usage(format!("{}: {error}", identity.display()));
    Identities::read(BufReader::new(file)).map_err(unusable)
}

/// By the file's name, if that is an archive's, or else by what is in it: an archive keeps its name in its content. How it is
/// compressed and encrypted is decided by its first bytes, whatever its name says.
pub fn of(path: &Path, identity: Option<&Path>) -> Result<Content, CommandError> {
    let failed = |source| CommandError::Read { path: path.to_owned(), source };
    let named: Option<ArchiveName> = path.file_name().and_then(|name| name.to_str()?.parse().ok());
    if let Some(name) = &named {
        let (head, reader) = peeked(File::open(path).map_err(failed)?).map_err(failed)?;
        let (encrypted, packing) = (is_encrypted(&head), Packing::of(&head));
        if !encrypted {
            refuse_others(path, &head)?;
        }
        let zstd = if encrypted { name.zstd } else { packing == Packing::Zstd };
        if !encrypted && packing == Packing::Plain {
            refuse_plain_tar(path, reader)?;
        }
        // The command that reads it on reports what is wrong with it.
        return Ok(Content::Archive(ArchiveName { encrypted, zstd, ..name.clone() }));
    }
    let Plain { reader, packing, encrypted } = open(path, identity)?;
    if packing == Packing::Plain {
        refuse_plain_tar(path, reader)?;
        return Ok(Content::Snapshot);
    }
    let head = packing
        .unpack(reader, None)
        .and_then(|plain| TarHead::read(plain, packing == Packing::Zstd, encrypted));
    match head {
        Ok(TarHead::Archive(name)) => Ok(Content::Archive(name)),
        Ok(TarHead::OtherTar) => Err(other_tar(path)),
        Ok(TarHead::NotTar) | Err(_) => Ok(Content::Snapshot),
    }
}

fn other_tar(path: &Path) -> CommandError {
    let path = path.display();
    CommandError::Usage(format!("{path} is a tar archive, but not one of nightshift; unpack it first"))
}

/// Browsers decompress what they download.
fn refuse_plain_tar(path: &Path, reader: impl Read) -> Result<(), CommandError> {
    match TarHead::read(reader, false, false) {
        Ok(TarHead::Archive(name)) => Err(CommandError::Usage(format!(
            "{} is the archive {name} without its compression, which a browser may have removed; download it in another way, or \
             compress it with gzip",
            path.display()
        ))),
        Ok(TarHead::OtherTar) => Err(other_tar(path)),
        Ok(TarHead::NotTar) | Err(_) => Ok(()),
    }
}

fn refuse_others(path: &Path, head: &[u8]) -> Result<(), CommandError> {
    match OTHERS.iter().find(|(start, _)| head.starts_with(start)) {
        Some((_, what)) => Err(CommandError::Usage(format!("{} is {what}", path.display()))),
        None => Ok(()),
    }
}

/// The first bytes of a reader, and a reader that still begins with them.
fn peeked(mut reader: impl Read + Send + 'static) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut head = Vec::with_capacity(HEAD);
    reader.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let whole = io::Cursor::new(head.clone()).chain(reader);
    Ok((head, Box::new(whole)))
}
