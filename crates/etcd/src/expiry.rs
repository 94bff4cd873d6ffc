//! When the certificates expire that the member and its clients use.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::discover::LocalMember;
use crate::health::Problem;
use crate::options::read_small;

/// Long enough to renew them in working hours.
const WARNING_PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A file with certificates, and when the first of them expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    pub path: PathBuf,
    pub at: Timestamp,
}

/// When the certificates expire that this host's etcd configuration names. Files that cannot be read are skipped: the connection
/// that needs them fails with a better error.
pub fn expiries(local: &LocalMember) -> Vec<Expiry> {
    let tls = &local.tls;
    let mut paths: Vec<&PathBuf> =
        local.files.iter().chain([&tls.ca, &tls.cert].into_iter().flatten()).collect();
    paths.sort();
    paths.dedup();
    let of = |path: &PathBuf| Some(Expiry { path: path.clone(), at: first_expiry(&read_small(path).ok()?)? });
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

fn first_expiry(pem: &[u8]) -> Option<Timestamp> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let ends = certificates.filter_map(|der| {
        let certificate = Certificate::from_der(&der).ok()?;
        let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
        Timestamp::from_second(i64::try_from(end.as_secs()).ok()?).ok()
    });
    ends.min()
}
