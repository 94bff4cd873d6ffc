//! Writes the blocks of a tar, as GNU tar reads them.
//!
//! The `tar` crate makes the headers. Its builder is not used, because it ends the archive when it is dropped, also after
//! an error: a truncated archive must never look complete.

use tar::{EntryType, Header};

use crate::compress::{Effort, Members};
use crate::contents::header_time;
use crate::error::PackError;
use crate::plan::{Entry, EntryKind};

const BLOCK: usize = 512;
/// Bytes: the size of a header's name fields.
const MAX_NAME_LEN: usize = 100;

pub(crate) struct TarWriter<'f> {
    members: Members<'f>,
}

impl<'f> TarWriter<'f> {
    pub const fn new(members: Members<'f>) -> Self {
        Self { members }
    }

    /// Writes the header of an entry, and before it what does not fit in one.
    pub fn begin(&mut self, entry: &Entry<'_>) -> Result<(), PackError> {
        let (kind, size, target) = match &entry.kind {
            EntryKind::Bytes(bytes) => (EntryType::Regular, bytes.len() as u64, ""),
            EntryKind::File(file) => (EntryType::Regular, file.size, ""),
            EntryKind::Directory => (EntryType::Directory, 0, ""),
            EntryKind::Symlink(target) => (EntryType::Symlink, 0, target.as_ref()),
        };
        let slash = if kind == EntryType::Directory { "/" } else { "" };
        let path = format!("{}{slash}", entry.path);
        self.pax(&entry.pax)?;
        self.long(EntryType::GNULongLink, target)?;
        self.long(EntryType::GNULongName, &path)?;

        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.uid.into());
        header.set_gid(entry.owner.gid.into());
        header.set_mtime(header_time(entry.modified));
        fill(&mut header.as_old_mut().name, &path);
        fill(&mut header.as_old_mut().linkname, target);
        if let Some(gnu) = header.as_gnu_mut() {
            fill_whole(&mut gnu.uname, entry.owner.user.as_deref());
            fill_whole(&mut gnu.gname, entry.owner.group.as_deref());
        }
        header.set_cksum();
        self.members.write(Effort::Compress, header.as_bytes())
    }

    pub fn data(&mut self, effort: Effort, bytes: &[u8]) -> Result<(), PackError> {
        self.members.write(effort, bytes)
    }

    /// Fills the last block of an entry with `size` bytes of data.
    pub fn pad(&mut self, size: u64) -> Result<(), PackError> {
        let used = (size % BLOCK as u64) as usize;
        if used > 0 { self.members.write(Effort::Compress, &[0; BLOCK][used..]) } else { Ok(()) }
    }

    /// Ends the archive. Before that it is invalid.
    pub fn end(mut self) -> Result<Members<'f>, PackError> {
        self.members.write(Effort::Compress, &[0; 2 * BLOCK])?;
        Ok(self.members)
    }

    /// Writes a name that does not fit in a header, as GNU tar does.
    fn long(&mut self, kind: EntryType, name: &str) -> Result<(), PackError> {
        if name.len() <= MAX_NAME_LEN {
            return Ok(());
        }
        self.before_entry(Header::new_gnu(), kind, "././@LongLink", &[name.as_bytes(), &[0]].concat())
    }

    fn pax(&mut self, records: &[u8]) -> Result<(), PackError> {
        if records.is_empty() {
            return Ok(());
        }
        self.before_entry(Header::new_ustar(), EntryType::XHeader, "././@PaxHeader", records)
    }

    /// Writes something that belongs to the entry that follows.
    fn before_entry(
        &mut self,
        mut header: Header,
        kind: EntryType,
        name: &str,
        data: &[u8],
    ) -> Result<(), PackError> {
        let size = data.len() as u64;
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        fill(&mut header.as_old_mut().name, name);
        header.set_cksum();
        self.members.write(Effort::Compress, header.as_bytes())?;
        self.members.write(Effort::Compress, data)?;
        self.pad(size)
    }
}

fn fill(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Leaves out a name that does not fit: half a name could be another user's, and the header has the number too.
fn fill_whole(field: &mut [u8], name: Option<&str>) {
    if let Some(name) = name.filter(|name| name.len() < field.len()) {
        fill(field, name);
    }
}
