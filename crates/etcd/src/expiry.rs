//! When the certificates expire that the member and its clients use.

use std::path::PathBuf;

use jiff::Timestamp;
use nightshift_core::certificate::{WARNING_PERIOD, first_expiry};

use crate::discover::LocalMember;
use crate::health::Problem;
use crate::small_file::read_small;

/// A file with certificates, and when the first of them expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    pub path: PathBuf,
    pub at: Timestamp,
}

/// When the certificates expire that this host's etcd configuration names. Files that cannot be read are skipped: the connection
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
