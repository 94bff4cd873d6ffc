//! When the certificates expire that the member and its clients use.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::discover::LocalMember;
use crate::health::Problem;
use crate::small_file::read_small;

/// Long enough to renew them in working hours.
const WARNING_PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A file with certificates, and when the first of them expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    pub path: PathBuf,
    pub at: Timestamp,
}

/// When the certificates expire that this host's etcd configuration names. Of a bundle of CAs, expired ones are ignored if another
/// is valid: they are kept until everything has a certificate of the new CA. Files that cannot be read are skipped: the connection
/// that needs them fails with a better error.
pub fn expiries(local: &LocalMember, now: Timestamp) -> Vec<Expiry> {
    let tls = &local.tls;
    let mut paths: Vec<&PathBuf> =
        local.files.iter().chain([&tls.ca, &tls.cert].into_iter().flatten()).collect();
    paths.sort();
    paths.dedup();
    let of =
        |path: &PathBuf| Some(Expiry { path: path.clone(), at: first_expiry(&read_small(path).ok()?, now)? });
    paths.into_iter().filter_map(of).collect()
}

/// The certificates that expire within thirty days, or have expired.
pub fn problems(expiries: &[Expiry], now: Timestamp) -> impl Iterator<Item = Problem> {
    expiries.iter().filter_map(move |expiry| {
        let left = expiry.at.duration_since(now);
        (left < WARNING_PERIOD).then(|| Problem::Expires {
            path: expiry.path.clone(),
            on: expiry.at.strftime("%Y-%m-%d").to_string(),
            days: left.as_hours().div_euclid(24),
        })
    })
}

fn first_expiry(pem: &[u8], now: Timestamp) -> Option<Timestamp> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let ends: Vec<(Timestamp, bool)> = certificates
        .filter_map(|der| {
            let certificate = Certificate::from_der(&der).ok()?;
            let certificate = certificate.tbs_certificate();
            let end = certificate.validity().not_after.to_unix_duration();
            // A CA that signed itself: of a chain, each certificate is needed.
            let is_root = certificate.issuer() == certificate.subject();
            Some((Timestamp::from_second(i64::try_from(end.as_secs()).ok()?).ok()?, is_root))
        })
        .collect();
    let has_valid_root = ends.iter().any(|(end, is_root)| *is_root && *end > now);
    let needed = ends.iter().filter(|(end, is_root)| !(has_valid_root && *is_root && *end <= now));
    needed.map(|(end, _)| *end).min()
}
