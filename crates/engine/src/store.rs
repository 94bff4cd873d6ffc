//! The vault: sets on disk. Written aside, synced, then made visible by one rename; never changed again.

mod fault;
mod judge;
mod layout;
mod partial;
mod proofs;
mod publish;
mod remove;
mod sync;
#[cfg(test)]
mod tests;

pub use fault::{IoContext, StoreError};
pub use judge::{Judge, Judged};
pub use layout::Vault;
pub(crate) use layout::{create_folders, read_bounded, read_tail};
pub(crate) use partial::hash_file;
pub use partial::{Guard, Partial, Written};
pub(crate) use publish::replace_file;
pub(crate) use sync::{sync_file, sync_folder};
