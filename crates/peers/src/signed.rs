//! Which host may have made a set, and whether the set's manifest has that host's signature.

use nightshift_core::inventory::Inventory;
use nightshift_core::manifest;
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::role::Role;
use nightshift_ssh::{KnownHosts, SignatureError, signature};

use crate::credentials::endpoint;

/// What decides whether a set is authentic.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    pub cluster: &'a ClusterName,
    pub inventory: &'a Inventory,
    pub known_hosts: &'a KnownHosts,
}

/// Why a manifest is not from the host that it names.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    #[error("its manifest names {made_by} as its origin host, which may not make sets of {host}")]
    Origin { host: HostName, made_by: HostName },
    #[error("its manifest's signature is not one of {made_by}, its origin host")]
    Refused { made_by: HostName, source: SignatureError },
}

impl Trust<'_> {
    /// Checks a manifest of `host` that names `made_by` as its origin host: a host makes its own sets, and masters make
    /// those of hosts without a daemon. Returns whether the manifest is signed; a signature that exists must be good.
    pub fn check_signature(
        &self,
        host: &HostName,
        made_by: &HostName,
        manifest: &[u8],
        signature: Option<&str>,
    ) -> Result<bool, SignedError> {
        let agentless = self.inventory.get(host).is_some_and(|host| host.agentless);
        let origin = self.inventory.get(made_by);
        let may =
            made_by == host || (agentless && origin.is_some_and(|origin| origin.roles.has(Role::Master)));
        let Some(origin) = origin.filter(|_| may) else {
            return Err(SignedError::Origin { host: host.clone(), made_by: made_by.clone() });
        };
        let Some(signature) = signature else { return Ok(false) };
        let names = endpoint(origin).known_as;
        signature::verify(manifest::NAMESPACE, manifest, signature, self.known_hosts, &names, origin.port)
            .map_err(|source| SignedError::Refused { made_by: made_by.clone(), source })?;
        Ok(true)
    }
}
