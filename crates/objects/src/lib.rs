//! Objects of a snapshot, restored through the API server of a living cluster: [`source`] finds and decrypts them, [`order`] sorts
//! them, and [`restore`] creates them over the operator's own `kubectl proxy` ([`proxy`]). The stored bytes are the request's body.

pub mod api;
mod controlled;
pub mod discovery;
pub mod files;
pub mod found;
pub mod item;
pub mod metadata;
pub mod object;
pub mod order;
mod owners;
pub mod proxy;
pub mod restore;
pub mod shown;
pub mod source;
pub mod wanted;
mod wire;

#[cfg(test)]
mod testing;
