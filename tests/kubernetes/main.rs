//! A real API server of Kubernetes on a real etcd. `cargo xtask lab kubernetes` builds it and runs these.

mod cluster;
mod kubeadm;
mod kubelet;
mod namespace;
mod operator;
#[path = "../lab/site.rs"]
#[allow(dead_code)]
mod site;
mod static_pods;
mod total_loss;
