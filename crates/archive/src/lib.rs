//! Archives: one file with all sets of a night in this master's vault, verified while it is written.
//!
//! An archive is a tar of one directory, `<host>_<YYYY.MM.DD>/`. Its first entry is `archive.json`, which names
//! every set with the hash of its manifest. The sets follow, each with its manifest before its files.
//! So the hashes form a chain from the archive's name down to the last byte, and a reader that keeps one
//! manifest in memory at a time can verify all of it while it streams.

mod compress;
mod contents;
mod damage;
mod encrypted;
mod entries;
mod error;
mod links;
mod list;
mod name;
mod output;
mod pack;
mod pax;
mod plan;
mod request;
mod set_check;
mod tar_writer;
#[cfg(test)]
mod tests;
mod unpack;
mod visit;

pub use contents::{ArchivedSet, Attached, Contents, ContentsError, HostKey, left_out};
pub use damage::Damage;
pub use encrypted::{Identities, IdentityError, is_encrypted, open_encrypted};
pub use error::{ListError, PackError};
pub use list::{Listing, visit_blocking};
pub use name::TarHead;
pub use pack::{Packed, pack};
pub use request::{OwnFile, PackRequest, StoredSet};
pub use visit::Visitor;
