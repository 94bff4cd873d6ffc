//! Who may have made a set, an archive or a proof, and whether it has that host's signature.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use nightshift_core::archive::{self, ArchiveName};
use nightshift_core::chain;
use nightshift_core::inventory::{Host, Inventory};
use nightshift_core::manifest::{self, Manifest};
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::proof::{self, StoredProof};
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::signed::Signed;
use nightshift_ssh::signature::{Sha512Digest, verify, verify_digest};
use nightshift_ssh::{KnownHosts, Signatory, SignatureError, Signer};
use nightshift_store::read_bounded;

use crate::credentials::endpoint;

/// Bytes of a public host key: that of an RSA key of 16,384 bits has 3 KB.
const MAX_PUBLIC_KEY: u64 = 16 << 10;
/// The port under which a host that is not in the inventory is looked up.
const SSH_PORT: u16 = 22;

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

impl SignedError {
    /// Whether no plain key of the host is pinned here: then the signature says neither yes nor no.
    pub fn is_unchecked(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.is_unchecked())
    }
}

impl Trust<'_> {
    /// Checks a manifest of `host` that names `made_by` as its origin host: a host makes its own sets, and masters make
    /// those of hosts without a daemon. Returns whether the manifest is signed; a signature that exists must be good.
    pub fn check_signature(
        &self,
        host: &HostName,
        made_by: &HostName,
        made_at: Timestamp,
        manifest: &[u8],
        signature: Option<&str>,
    ) -> Result<bool, SignedError> {
        let origin = self.inventory.get(made_by);
        // Of a host that left the inventory nothing is pulled; `may_make` also serves sets that are stored already.
        let may = self.inventory.get(host).is_some() && may_make(self.inventory, host, made_by);
        let Some(origin) = origin.filter(|_| may) else {
            return Err(SignedError::Origin { host: host.clone(), made_by: made_by.clone() });
        };
        let Some(signature) = signature else { return Ok(false) };
        let names = endpoint(origin).known_as;
        let by = Signatory { known_hosts: self.known_hosts, names: &names, port: origin.port, made_at };
        verify(manifest::NAMESPACE, manifest, signature, by)
            .map_err(|source| SignedError::Refused { made_by: made_by.clone(), source })?;
        Ok(true)
    }
}

fn may_make(inventory: &Inventory, host: &HostName, made_by: &HostName) -> bool {
    let agentless = inventory.get(host).is_none_or(|host| host.agentless);
    made_by == host
        || (agentless && inventory.get(made_by).is_some_and(|origin| origin.roles.has(Role::Master)))
}

/// The keys by which this host checks what is stored: the pinned ones, and its own, which is not pinned.
#[derive(Debug)]
pub struct Signers<'a> {
    /// With this host's own keys, or why they cannot be read. `None` without a configuration: then every host is looked up by its
    /// name alone.
    own: Option<(&'a Settings, Result<KnownHosts, String>)>,
    /// Or why they cannot be read.
    pins: Result<KnownHosts, String>,
}

impl<'a> Signers<'a> {
    /// Reads this host's public key, and the pinned keys. If one of them cannot be read, what needs it is unchecked. Blocks.
    pub fn load(settings: &'a Settings) -> Self {
        let pins = KnownHosts::load(&settings.ssh.known_hosts).map_err(|error| chain(&error));
        Self { own: Some((settings, own_key(settings))), pins }
    }

    /// With these pins alone.
    pub fn pinned(pins: Result<KnownHosts, String>) -> Self {
        Self { own: None, pins }
    }

    /// With these pins instead of those of the configuration.
    pub fn with_pins(self, pins: Result<KnownHosts, String>) -> Self {
        Self { pins, ..self }
    }

    pub fn of_set(&self, manifest: &Manifest, bytes: &[u8], signature: Option<&str>) -> Signed {
        let Manifest { host, made_by, made_at, .. } = manifest;
        let inventory = self.settings().map(|settings| &settings.inventory);
        if inventory.is_some_and(|inventory| !may_make(inventory, host, made_by)) {
            let origin = SignedError::Origin { host: host.clone(), made_by: made_by.clone() };
            return Signed::Refused(origin.to_string());
        }
        self.check(made_by, *made_at, signature, |signature, by| {
            verify(manifest::NAMESPACE, bytes, signature, by)
        })
    }

    /// An archive is signed by the master in its name. Its name also has the night, which is when it was made.
    pub fn of_archive(&self, name: &ArchiveName, digest: &Sha512Digest, signature: Option<&str>) -> Signed {
        let packer = self.settings().and_then(|settings| settings.inventory.get(&name.host));
        if packer.is_some_and(|host| !host.roles.has(Role::Master)) {
            return Signed::Refused(format!("{} is not a master, and only masters pack archives", name.host));
        }
        let night = name.date.to_datetime(Time::midnight()).to_zoned(TimeZone::UTC);
        let made_at = night.map_or(Timestamp::MAX, |night| night.timestamp());
        self.check(&name.host, made_at, signature, |signature, by| {
            verify_digest(archive::NAMESPACE, digest, signature, by)
        })
    }

    pub fn of_proof(&self, stored: &StoredProof) -> Signed {
        let StoredProof { proof, bytes, signature } = stored;
        self.check(&proof.by, proof.at, signature.as_deref(), |signature, by| {
            verify(proof::NAMESPACE, bytes, signature, by)
        })
    }

    fn settings(&self) -> Option<&'a Settings> {
        self.own.as_ref().map(|(settings, _)| *settings)
    }

    fn check(
        &self,
        host: &HostName,
        made_at: Timestamp,
        signature: Option<&str>,
        verify: impl Fn(&str, Signatory<'_, String>) -> Result<String, SignatureError>,
    ) -> Signed {
        let Some(signature) = signature else { return Signed::Unsigned };
        let listed = self.settings().and_then(|settings| settings.inventory.get(host));
        let (names, port) = listed.map_or_else(
            || (vec![host.to_string()], SSH_PORT),
            |listed: &Host| (endpoint(listed).known_as, listed.port),
        );
        let with = |known_hosts: &KnownHosts| {
            verify(signature, Signatory { known_hosts, names: &names, port, made_at })
        };
        if let Some((settings, own)) = &self.own
            && settings.this == *host
        {
            return self.check_own(host, own, &with);
        }
        match self.pins.as_ref().map(with) {
            Ok(Ok(_)) => Signed::By(host.clone()),
            Ok(Err(error)) if error.is_unchecked() => Signed::Unchecked(error.to_string()),
            Ok(Err(error)) => Signed::Refused(chain(&error)),
            Err(reason) => Signed::Unchecked(reason.clone()),
        }
    }

    /// This host's own key is rarely pinned here. If it was changed, its former ones may be.
    fn check_own(
        &self,
        host: &HostName,
        own: &Result<KnownHosts, String>,
        with: &dyn Fn(&KnownHosts) -> Result<String, SignatureError>,
    ) -> Signed {
        let checked = match own {
            Ok(own) => with(own),
            Err(reason) => return Signed::Unchecked(reason.clone()),
        };
        match checked {
            Ok(_) => Signed::By(host.clone()),
            Err(_) if self.pins.as_ref().is_ok_and(|pins| with(pins).is_ok()) => Signed::By(host.clone()),
            Err(error @ SignatureError::OtherKey { .. }) => Signed::Unchecked(format!(
                "{error}; if this host had that key before, pin its keys with `nightshift trust --replace {host}` when they change"
            )),
            Err(error) => Signed::Refused(chain(&error)),
        }
    }
}

fn own_key(settings: &Settings) -> Result<KnownHosts, String> {
    let path = &settings.ssh.host_key;
    let mut public = path.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    let line = match read_bounded(&public, MAX_PUBLIC_KEY) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).split_whitespace().take(2).collect::<Vec<_>>().join(" "),
        // The private key has the public one, for those that may read it.
        Err(error) => Signer::from_host_key(path).map_err(|_| chain(&error))?.public_line(),
    };
    let port = settings.inventory.get(&settings.this).map_or(SSH_PORT, |host| host.port);
    let this = &settings.this;
    let name = if port == SSH_PORT { this.to_string() } else { format!("[{this}]:{port}") };
    KnownHosts::parse(&format!("{name} {line}\n")).map_err(|error| format!("{}: {error}", public.display()))
}
