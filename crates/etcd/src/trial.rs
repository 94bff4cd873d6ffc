//! A trial: a stored copy is restored into a scratch etcd, which must contain what the copy contains and accept a write.
//!
//! It needs no daemon and no network. In this order:
//!
//! 1. [`scratch::Scratch`]: a locked directory that is removed with its owner;
//! 2. [`tools::Tools`]: etcd's own programs, of the copy's version;
//! 3. [`contents::read`]: what the stored copy contains, key by key, and which encrypted values decrypt ([`secrets`]);
//! 4. [`restore::restore`]: `snapshot restore` to a data directory in the scratch directory;
//! 5. [`server::Server`]: etcd, started on that data directory;
//! 6. [`compare::compare`]: the restored etcd against the copy and its manifest;
//! 7. [`canary::write`]: a key, written, read and deleted.
//!
//! Each step fails with a [`fault::Fault`], which says whether the copy is the cause or this host.

pub mod canary;
pub mod child;
pub mod compare;
pub mod contents;
pub mod etcd;
pub mod fault;
pub mod master_keys;
pub mod member;
pub mod restore;
mod root_access;
pub mod scratch;
pub mod secrets;
pub mod server;
pub mod tools;
pub mod unpack;
