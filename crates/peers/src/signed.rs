//! Who may have made a set, and whether its manifest carries that host's signature.

use nightshift_core::inventory::Inventory;
use nightshift_core::manifest;
use nightshift_core::name::HostName;
use nightshift_core::role::Role;
use nightshift_ssh::{KnownHosts, SignatureError, signature};

use crate::credentials::endpoint;

/// Why a manifest is not that of the host that it names.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    #[error("its manifest names {made_by} as its origin, which may not make sets of {host}")]
    Origin { host: HostName, made_by: HostName },
    #[error("its signature by {made_by} is refused")]
    Refused { made_by: HostName, source: SignatureError },
}

/// Checks a manifest of `host` that `made_by` is said to have made: a host makes its own sets, and masters make those of
/// hosts without a daemon. Returns whether it is signed: a signature that is there must be good.
pub fn check_signature(
    inventory: &Inventory,
    known_hosts: &KnownHosts,
    host: &HostName,
    made_by: &HostName,
    manifest: &[u8],
    signature: Option<&str>,
) -> Result<bool, SignedError> {
    let agentless = inventory.get(host).is_some_and(|host| host.agentless);
    let origin = inventory.get(made_by);
    let may = made_by == host || (agentless && origin.is_some_and(|origin| origin.roles.has(Role::Master)));
    let Some(origin) = origin.filter(|_| may) else {
        return Err(SignedError::Origin { host: host.clone(), made_by: made_by.clone() });
    };
    let Some(signature) = signature else { return Ok(false) };
    let names = endpoint(origin).known_as;
    signature::verify(manifest::NAMESPACE, manifest, signature, known_hosts, &names, origin.port)
        .map_err(|source| SignedError::Refused { made_by: made_by.clone(), source })?;
    Ok(true)
}
