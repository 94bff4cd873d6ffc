//! Certificates in PEM: when they are valid, for which names, which key is theirs, and who signed them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::crypto::ring::default_provider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{self, Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// Long enough to renew a certificate in working hours.
pub const WARNING_PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    parsed: x509_cert::Certificate,
    /// The part that is signed, as it was encoded.
    signed: Vec<u8>,
}

/// Why a certificate or a key cannot be checked. It quotes nothing of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Certificate {
    /// The certificates of a file, in their order.
    pub fn all_in(pem: &[u8]) -> impl Iterator<Item = Result<Self, Unreadable>> {
        CertificateDer::pem_slice_iter(pem).map(|der| {
            let der = der.map_err(|error| Unreadable(format!("invalid PEM: {error}")))?;
            Self::of_der(&der).map_err(|error| Unreadable(format!("invalid certificate: {error}")))
        })
    }

    fn of_der(bytes: &[u8]) -> der::Result<Self> {
        let parsed = x509_cert::Certificate::from_der(bytes)?;
        let signed = SliceReader::new(bytes)?.sequence(|reader| {
            let signed = reader.tlv_bytes()?.to_vec();
            // The algorithm and the signature.
            reader.tlv_bytes()?;
            reader.tlv_bytes()?;
            Ok::<_, der::Error>(signed)
        })?;
        Ok(Self { parsed, signed })
    }

    pub fn not_before(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate().validity().not_before.to_unix_duration())
    }

    pub fn not_after(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate().validity().not_after.to_unix_duration())
    }

    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before() <= now && now < self.not_after()
    }

    /// It is its own issuer, by its names.
    pub fn is_root(&self) -> bool {
        self.parsed.tbs_certificate().issuer() == self.parsed.tbs_certificate().subject()
    }

    /// It may sign others.
    pub fn is_authority(&self) -> bool {
        let constraints = self.parsed.tbs_certificate().get_extension::<BasicConstraints>();
        matches!(constraints, Ok(Some((_, BasicConstraints { ca: true, .. }))))
    }

    /// For which names it is. One without subject alternative names is for its common name, as etcd up to 3.4 has it.
    pub fn names(&self) -> Result<Names, Unreadable> {
        let certificate = self.parsed.tbs_certificate();
        let unreadable = |error: der::Error| Unreadable(format!("its names cannot be read: {error}"));
        let mut names = Names::default();
        match certificate.get_extension::<SubjectAltName>().map_err(unreadable)? {
            Some((_, alternatives)) => alternatives.0.iter().for_each(|name| names.add(name)),
            None => {
                let common = certificate.subject().common_name().map_err(unreadable)?;
                names.dns.extend(common.map(String::from));
            }
        }
        Ok(names)
    }

    /// Whether the private key in `pem` is its key.
    pub fn fits(&self, pem: &[u8]) -> Result<bool, Unreadable> {
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| Unreadable("not a private key in PEM without a passphrase".to_owned()))?;
        let key = any_supported_type(&key)
            .map_err(|_| Unreadable("a private key of a kind that is not supported".to_owned()))?;
        let public = key.public_key().and_then(|public| SubjectPublicKeyInfoOwned::from_der(&public).ok());
        let public = public
            .ok_or_else(|| Unreadable("a private key of which the public key is unknown".to_owned()))?;
        let of_this = self.parsed.tbs_certificate().subject_public_key_info();
        Ok(public.subject_public_key == of_this.subject_public_key)
    }

    /// Whether the key of `issuer` signed it. `None` if the algorithm is not supported.
    pub fn is_signed_by(&self, issuer: &Self) -> Option<bool> {
        let key = issuer.parsed.tbs_certificate().subject_public_key_info();
        let of_key = identifier(&key.algorithm)?;
        let of_signature = identifier(self.parsed.signature_algorithm())?;
        let all = default_provider().signature_verification_algorithms.all;
        let (mut knows_key, mut knows_signature) = (false, false);
        for algorithm in all {
            let is_of_key = *algorithm.public_key_alg_id() == *of_key;
            let is_of_signature = *algorithm.signature_alg_id() == *of_signature;
            knows_key |= is_of_key;
            knows_signature |= is_of_signature;
            let (key, signature) = (key.subject_public_key.as_bytes()?, self.parsed.signature().as_bytes()?);
            if is_of_key
                && is_of_signature
                && algorithm.verify_signature(key, &self.signed, signature).is_ok()
            {
                return Some(true);
            }
        }
        (knows_key && knows_signature).then_some(false)
    }
}

/// When the first of the certificates expires that a file's readers need. Of a bundle of CAs, expired ones are ignored if another is
/// valid: they are kept until everything has a certificate of the new CA. `None` for a file without certificates.
pub fn first_expiry(pem: &[u8], now: Timestamp) -> Option<Timestamp> {
    let all: Vec<Certificate> = Certificate::all_in(pem).filter_map(Result::ok).collect();
    // A CA that signed itself: of a chain, each certificate is needed.
    let has_valid_root = all.iter().any(|one| one.is_root() && one.not_after() > now);
    let needed = all.iter().filter(|one| !(has_valid_root && one.is_root() && one.not_after() <= now));
    needed.map(Certificate::not_after).min()
}

fn timestamp(since_epoch: Duration) -> Timestamp {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    // A certificate that never expires has a later end (RFC 5280, 4.1.2.5) than a timestamp can have.
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The content of an algorithm identifier, without its header.
fn identifier(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let encoded = algorithm.to_der().ok()?;
    Some(AnyRef::from_der(&encoded).ok()?.value().to_vec())
}

/// The names and addresses that a certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Names {
    fn add(&mut self, name: &GeneralName) {
        match name {
            GeneralName::DnsName(name) => self.dns.push(name.as_str().to_owned()),
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
                self.addresses.extend(v4.or(v6));
            }
            _ => {}
        }
    }

    /// Whether a client that connects to this name or address accepts it.
    pub fn cover(&self, name: &str) -> bool {
        let is_address = name.parse().is_ok_and(|address: IpAddr| self.addresses.contains(&address));
        let covers = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(domain) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => pattern.eq_ignore_ascii_case(name),
        };
        is_address || self.dns.iter().any(covers)
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<String> = self.dns.iter().cloned().chain(addresses).collect();
        if all.is_empty() { f.write_str("none") } else { f.write_str(&crate::text::first_of(&all, ", ")) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fixtures::pki::Authority;

    const EXPIRES: i64 = 2_000_000_000;

    fn one(pem: &str) -> Certificate {
        Certificate::all_in(pem.as_bytes()).next().unwrap().unwrap()
    }

    #[test]
    fn a_certificate_says_when_it_is_valid_for_which_names_and_whose_it_is() {
        let (ca, other) = (Authority::new("ca", EXPIRES), Authority::new("ca", EXPIRES));
        let (pem, key) = ca.issue(&["e1.example.com", "10.0.0.1", "*.apps.example.com"], EXPIRES - 100);
        let certificate = one(&pem);
        assert_eq!(certificate.not_after().as_second(), EXPIRES - 100);
        assert!(!certificate.is_valid_at(Timestamp::from_second(EXPIRES).unwrap()));
        let names = certificate.names().unwrap();
        for (name, covered) in [
            ("e1.example.com", true),
            ("E1.EXAMPLE.COM", true),
            ("10.0.0.1", true),
            ("x.apps.example.com", true),
            ("x.y.apps.example.com", false),
            ("e2.example.com", false),
            ("10.0.0.2", false),
            ("fd00::1", false),
        ] {
            assert_eq!(names.cover(name), covered, "{name}");
        }
        assert_eq!(names.to_string(), "e1.example.com, *.apps.example.com, 10.0.0.1");
        assert!(certificate.fits(key.as_bytes()).unwrap());
        assert!(!certificate.fits(other.issue(&[], EXPIRES).1.as_bytes()).unwrap());
        assert!(certificate.fits(pem.as_bytes()).is_err(), "not a key");
        assert_eq!(certificate.is_signed_by(&one(&ca.pem())), Some(true));
        assert_eq!(certificate.is_signed_by(&one(&other.pem())), Some(false), "of the same name");
        assert!(one(&ca.pem()).is_authority() && one(&ca.pem()).is_root());
        assert!(!certificate.is_authority() && !certificate.is_root());
    }

    #[test]
    fn what_openssl_makes_is_read_too() {
        let pem = include_str!("certificate/rsa.pem");
        let certificate = one(pem);
        assert!(certificate.fits(pem.as_bytes()).unwrap());
        assert_eq!(certificate.is_signed_by(&certificate), Some(true));
        assert_eq!(certificate.is_signed_by(&one(&Authority::new("ca", EXPIRES).pem())), Some(false));
        assert!(certificate.names().unwrap().cover("only-a-common-name"));
        // SHA-1 is not supported.
        assert_eq!(one(include_str!("certificate/sha1.pem")).is_signed_by(&certificate), None);
    }

    #[test]
    fn of_a_bundle_expired_roots_are_ignored_while_another_is_valid() {
        let now = Timestamp::from_second(EXPIRES).unwrap();
        let (old, new) = (Authority::new("old", EXPIRES - 1), Authority::new("new", EXPIRES + 9));
        let bundle = old.pem() + &new.pem();
        assert_eq!(first_expiry(bundle.as_bytes(), now).map(Timestamp::as_second), Some(EXPIRES + 9));
        assert_eq!(first_expiry(old.pem().as_bytes(), now).map(Timestamp::as_second), Some(EXPIRES - 1));
        assert_eq!(first_expiry(b"not PEM", now), None);
    }
}
