//! A real API server of Kubernetes on a real etcd. `cargo xtask lab kubernetes` builds it and runs these.

mod cluster;
mod namespace;
