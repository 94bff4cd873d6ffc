//! Rebuilds a cluster by a plan: the acts on a machine, and the conductor on the operator's machine.

pub mod target;
