//! Checks host certificates against the `@cert-authority` lines of known_hosts.

use std::time::{SystemTime, UNIX_EPOCH};

use nightshift_core::text::{Text, first_of};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg};

use super::entry::Marker;
use super::pattern::glob;
use super::{KnownHosts, SSH_PORT, lookups};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertificateVerdict {
    Trusted,
    /// The key of the host or of its authority is revoked.
    Revoked,
    /// An authority that is trusted for this host signed it, but the certificate is invalid.
    Refused {
        reason: String,
    },
    /// It was not signed by an authority that is trusted for this host. The key in it may still be pinned.
    NoAuthority,
}

impl KnownHosts {
    /// Whether any certificate authority is trusted for this host.
    pub fn has_authority<N: AsRef<str>>(&self, names: &[N], port: u16) -> bool {
        self.authorities(&lookups(names, port)).next().is_some()
            || self.authorities(&lookups(names, SSH_PORT)).next().is_some()
    }

    fn authorities<'a>(&'a self, lookups: &'a [String]) -> impl Iterator<Item = &'a KeyData> {
        self.keys(lookups, Marker::CertAuthority)
    }

    pub(crate) fn check_certificate<N: AsRef<str>>(
        &self,
        names: &[N],
        port: u16,
        certificate: &Certificate,
        now: SystemTime,
    ) -> CertificateVerdict {
        let mut looked_up = lookups(names, port);
        let keys = [certificate.public_key(), certificate.signature_key()];
        if keys.iter().any(|key| self.is_revoked(&looked_up, key)) {
            return CertificateVerdict::Revoked;
        }
        if port != SSH_PORT && self.authorities(&looked_up).next().is_none() {
            looked_up = lookups(names, SSH_PORT);
            if keys.iter().any(|key| self.is_revoked(&looked_up, key)) {
                return CertificateVerdict::Revoked;
            }
        }
        let signed_by = certificate.signature_key();
        if !self.authorities(&looked_up).any(|authority| authority == signed_by) {
            return CertificateVerdict::NoAuthority;
        }
        match fault(certificate, &lookups(names, SSH_PORT), now) {
            None => CertificateVerdict::Trusted,
            Some(reason) => CertificateVerdict::Refused { reason },
        }
    }
}

/// The first reason not to accept a certificate whose authority is trusted.
fn fault(certificate: &Certificate, names: &[String], now: SystemTime) -> Option<String> {
    if certificate.cert_type() != CertType::Host {
        return Some("it is a user certificate, not a host certificate".into());
    }
    if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Some("it was signed with SHA-1".into());
    }
    let principals = certificate.valid_principals();
    // OpenSSH accepts a certificate without principals for every host. That is too much for hosts with a cluster's secrets.
    if principals.is_empty() {
        return Some("it has no principals, so it is not limited to this host".into());
    }
    let named = |name: &String| principals.iter().any(|p| glob(&p.to_ascii_lowercase(), name));
    if !names.iter().any(named) {
        let principals: Vec<Text> = principals.iter().map(Text::from).collect();
        return Some(format!("it is for {}, not for {}", first_of(&principals, ", "), names.join(", ")));
    }
    if !certificate.critical_options().is_empty() {
        return Some("it has critical options, which a host certificate must not have".into());
    }
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if seconds < certificate.valid_after() {
        return Some("it is not valid yet".into());
    }
    if seconds >= certificate.valid_before() {
        return Some("it has expired".into());
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    if certificate.validate_at(seconds, [&authority]).is_err() {
        return Some("its signature is invalid".into());
    }
    None
}
