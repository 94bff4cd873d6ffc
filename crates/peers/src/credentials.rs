//! Connections to peers and remotes: this host's identity, the pinned host keys, and where each host is.

use std::sync::Arc;

use nightshift_core::inventory::Host;
use nightshift_core::settings::{Remote, Settings};
use nightshift_ssh::{
    Bandwidth, ConnectError, Endpoint, Identity, IdentityError, KnownHosts, KnownHostsError, Session, Sftp,
    SftpError, Timeouts,
};
use nightshift_store::offload;

/// What a connection to another host needs; loaded once per stage.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub identity: Arc<Identity>,
    pub known_hosts: Arc<KnownHosts>,
    pub timeouts: Timeouts,
    /// The limit of all connections that are opened with these.
    pub bandwidth: Bandwidth,
}

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("cannot use this host's SSH identity")]
    Identity(#[from] IdentityError),
    #[error("cannot use the pinned host keys")]
    KnownHosts(#[from] KnownHostsError),
}

/// Why a peer cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Sftp(#[from] SftpError),
}

impl ReachError {
    /// Whether retrying is useless until an operator changes something: a host key, an authorized key.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Connect(error) if error.is_permanent())
    }
}

impl Credentials {
    /// With the identity that masters use for peers.
    pub async fn of_peers(settings: &Settings) -> Result<Self, CredentialsError> {
        Self::load(settings, settings.ssh.identity.clone()).await
    }

    /// With the identity of one remote.
    pub async fn of_remote(settings: &Settings, remote: &Remote) -> Result<Self, CredentialsError> {
        let credentials = Self::load(settings, remote.identity.clone()).await?;
        Ok(credentials.within(Bandwidth::of(remote.rate)))
    }

    /// The same, within a limit of the bandwidth.
    #[must_use]
    pub fn within(self, bandwidth: Bandwidth) -> Self {
        Self { bandwidth, ..self }
    }

    async fn load(settings: &Settings, identity: std::path::PathBuf) -> Result<Self, CredentialsError> {
        let known_hosts = settings.ssh.known_hosts.clone();
        let timeouts = Timeouts {
            connect: settings.ssh.connect_timeout,
            auth: settings.ssh.connect_timeout,
            request: settings.ssh.idle_timeout,
            ..Timeouts::default()
        };
        offload::run(move || {
            Ok(Self {
                identity: Arc::new(Identity::load(&identity)?),
                known_hosts: Arc::new(KnownHosts::load(&known_hosts)?),
                timeouts,
                bandwidth: Bandwidth::default(),
            })
        })
        .await
    }

    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Session, ConnectError> {
        Session::connect(endpoint, &self.identity, &self.known_hosts, &self.timeouts).await
    }

    /// Opens SFTP on a connection of its own, which bulk data needs.
    pub async fn open_sftp(&self, endpoint: &Endpoint) -> Result<(Session, Sftp), ReachError> {
        let session = self.connect(endpoint).await?;
        let sftp = session.sftp_within(self.bandwidth.clone()).await?;
        Ok((session, sftp))
    }
}

/// Where a peer is, and the names under which its host key may be pinned.
pub fn endpoint(host: &Host) -> Endpoint {
    let mut known_as = vec![host.name.to_string()];
    if host.address != host.name.as_str() {
        known_as.push(host.address.clone());
    }
    Endpoint { address: host.address.clone(), port: host.port, user: host.user.clone(), known_as }
}

/// Where a remote is.
pub fn remote_endpoint(remote: &Remote) -> Endpoint {
    Endpoint {
        address: remote.address.clone(),
        port: remote.port,
        user: remote.user.clone(),
        known_as: vec![remote.address.clone()],
    }
}

/// Where a remote is, as it is remembered.
pub fn location(remote: &Remote) -> String {
    format!("{} {}", remote_endpoint(remote), remote.path)
}
