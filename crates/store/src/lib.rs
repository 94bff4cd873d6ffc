//! The vault: sets on disk, written aside, synced, then made visible by one rename; never changed again. With it what
//! else is kept on this host: records, archives on their way out, and the space that they take.

mod best;
mod fault;
pub mod gzip;
mod judge;
mod layout;
pub mod offload;
pub mod outbox;
pub mod packing;
mod partial;
pub mod pieces;
mod proofs;
mod publish;
pub mod records;
mod remove;
pub mod safe_open;
pub mod space;
pub mod spool;
mod sync;
#[cfg(test)]
mod tests;
pub mod verify;

pub use best::best;
pub use fault::{IoContext, StoreError};
pub use judge::{Judge, Judged};
pub use layout::{Vault, create_folders, read_bounded, read_tail};
pub use partial::{Guard, Partial, hash_file};
pub use publish::replace_file;
pub use sync::{sync_file, sync_folder};
