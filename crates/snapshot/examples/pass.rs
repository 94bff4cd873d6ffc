//! Measures a pass of a snapshot in blobs of 32 KiB: `pass FILE`, or `pass --hash-only FILE` for the SHA-256 alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::Read as _;
use std::time::Instant;

use nightshift_snapshot::{Pass, TrailerCheck};

fn main() {
    let path = std::env::args_os().nth_back(0).expect("usage: pass [--hash-only] FILE");
    if std::env::args_os().nth(1).is_some_and(|word| word == "--hash-only") {
        return hash(File::open(path).unwrap());
    }
    let mut file = File::open(path).unwrap();
    let mut blob = vec![0; 32 << 10];
    let begun = Instant::now();
    let mut pass = Pass::default();
    loop {
        match file.read(&mut blob).unwrap() {
            0 => break,
            read => pass.update(&blob[..read]),
        }
    }
    let report = pass.finish();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{report:#?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("seconds={seconds:.3} MB/s={:.0} peak-rss={peak}", report.length as f64 / seconds / 1e6);
}

fn hash(mut file: File) {
    let mut blob = vec![0; 32 << 10];
    let begun = Instant::now();
    let mut trailer = TrailerCheck::default();
    loop {
        match file.read(&mut blob).unwrap() {
            0 => break,
            read => trailer.update(&blob[..read]),
        }
    }
    let length = trailer.finish().length;
    let seconds = begun.elapsed().as_secs_f64();
    println!("seconds={seconds:.3} MB/s={:.0}", length as f64 / seconds / 1e6);
}
