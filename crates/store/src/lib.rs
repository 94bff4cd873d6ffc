//! The vault: sets on disk, written under another name, synced, then made visible by one rename, and never changed again.
//! And what else this host stores: records, archives that are being shipped; and the space for them.

pub mod access;
mod append_log;
mod best;
mod budget;
pub mod capability;
pub mod damage;
mod directory;
pub mod drop_root;
mod fault;
pub mod gzip;
mod json_file;
mod judge;
pub mod kept;
mod layout;
mod mark;
pub mod member_tar;
pub mod offload;
pub mod opened;
pub mod outbox;
mod owner;
pub mod packing;
mod partial;
pub mod pieces;
mod present;
pub mod process;
mod proofs;
mod publish;
mod read;
pub mod records;
mod remove;
mod replace;
pub mod restorable;
pub mod safe_open;
pub mod space;
pub mod spool;
mod sync;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod verify;

pub use append_log::AppendLog;
pub use best::{best, best_judged};
pub use budget::{Budget, Reservations, SetFile};
pub use directory::{create_directories, list, open_own, remove_file, remove_tree};
pub use fault::{IoContext, StoreError};
pub use json_file::{UNREADABLE, aside, prepare_json, read_json, set_aside_unreadable, write_json};
pub use judge::{Judge, Judged};
pub use layout::{Listed, Vault};
pub use outbox::beside;
pub use owner::become_owner_of;
pub use partial::{Guard, Partial, hash_file};
pub use proofs::StoredProofs;
pub use read::{open_below, open_regular, read_below, read_bounded, read_if_exists, read_tail};
pub use replace::{Prepared, create_file, replace_file, replace_public_file};
pub use sync::{sync_directory, sync_file};
