//! A real API server of Kubernetes on a real etcd. `cargo xtask lab kubernetes` builds it and runs these.

mod cluster;
mod namespace;
#[path = "../lab/site.rs"]
#[allow(dead_code)]
mod site;
mod total_loss;
