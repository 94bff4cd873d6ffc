//! Takes one snapshot and prints what it cost: `etcd_snapshot ENDPOINT FILE gzip|zstd`.
//!
//! What the benchmark runs, against plain HTTP or, with CA, CERT and KEY in the environment, over TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nightshift_core::settings::Compression;
use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::snapshot::{Limits, take};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, path, compression] = &arguments[..] else {
        panic!("usage: etcd_snapshot ENDPOINT FILE gzip|zstd");
    };
    let compression = match compression.as_str() {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        other => panic!("{other} is neither gzip nor zstd"),
    };
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let tls = TlsFiles { ca: named("CA"), cert: named("CERT"), key: named("KEY") };
    let member = LocalMember { endpoint: endpoint.clone(), tls, ..LocalMember::default() };
    let limits = Limits { stall: Duration::from_secs(60), deadline: Duration::from_secs(3600) };

    let begun = Instant::now();
    let client = Client::connect(&member, Duration::from_secs(10)).await.unwrap();
    let file = File::options().write(true).create_new(true).open(path).unwrap();
    let taken = take(&client, file, compression, limits).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(taken.report.is_sound(), "{:?}", taken.report.findings);
    println!(
        "seconds={seconds:.3} raw={} stored={} written={} peak-rss-kib={}",
        taken.report.length,
        taken.stored.size,
        accounted("io", "write_bytes:"),
        accounted("status", "VmHWM:")
    );
}

/// A number that the kernel counts for this process.
fn accounted(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}
