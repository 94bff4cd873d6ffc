//! The daemon: everything that touches the world at night.

pub mod archive;
pub mod etcd;
pub mod offload;
