//! Measures a pass of a generated snapshot of any size, which is never on disk: `scale GIGABYTES`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::fs;
use std::time::{Duration, Instant};

use nightshift_snapshot::{Finding, Pass};

#[path = "../tests/support/built.rs"]
mod built;

fn main() {
    let gigabytes: u64 = std::env::args().nth(1).expect("usage: scale GIGABYTES").parse().unwrap();
    let leaves = gigabytes * 1_000_000_000 / built::PAGE as u64;
    let plan = built::Plan { leaves, changes: 10, value: 300, ..built::Plan::default() };
    let mut pass = Pass::default();
    let mut spent = Duration::ZERO;
    // Blobs of the size that etcd sends.
    let mut blob = Vec::with_capacity(32 << 10);
    built::build(&plan, |page| {
        blob.extend_from_slice(page);
        if blob.len() >= 32 << 10 {
            let begun = Instant::now();
            pass.update(&blob);
            spent += begun.elapsed();
            blob.clear();
        }
    });
    pass.update(&blob);
    let peak = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        line.to_owned()
    };
    let streamed = peak();
    let report = pass.finish();
    assert!(
        matches!(report.findings[..], [Finding::TrailerAbsent { .. }, Finding::Length { .. }]),
        "{report:?}"
    );
    println!("{:?}", report.facts);
    println!(
        "seconds={:.1} MB/s={:.0}",
        spent.as_secs_f64(),
        report.length as f64 / spent.as_secs_f64() / 1e6
    );
    println!("while streaming {streamed}, at the end {}", peak());
}
