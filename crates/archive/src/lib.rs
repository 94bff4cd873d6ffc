//! Archives: one file with all sets of a night that this master holds, proved readable while it is written.
//!
//! An archive is a tar of one folder, `<host>_<YYYY.MM.DD>/`. In it lies first `archive.json`, which names
//! every set with the hash of its manifest; then come the sets, each with its manifest before its files.
//! So the hashes form a chain from the archive's name down to the last byte, and a reader that keeps one
//! manifest in memory at a time can check all of it in one pass.

mod compress;
mod contents;
mod damage;
mod encrypted;
mod entries;
mod error;
mod inline;
mod list;
mod pack;
mod plan;
mod request;
mod seal;
mod set_check;
mod tar_writer;
#[cfg(test)]
mod tests;
mod unpack;
mod visit;

pub use contents::{ArchivedSet, Attached, Contents, ContentsError};
pub use damage::Damage;
pub use encrypted::{Identities, IdentityError, open_encrypted};
pub use error::{ListError, PackError};
pub use list::{Listing, list_blocking, visit_blocking};
pub use pack::{Packed, pack};
pub use request::{HeldSet, PackRequest};
pub use visit::Visitor;
