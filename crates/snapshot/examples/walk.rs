//! Walks a snapshot or a database file, and says what that cost: `walk FILE`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::fs::{self, File};
use std::time::Instant;

use nightshift_snapshot::walk;

fn main() {
    let path = std::env::args_os().nth(1).expect("usage: walk FILE");
    let file = File::open(path).unwrap();
    let begun = Instant::now();
    let report = walk(&file, &mut ()).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{report:#?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("seconds={seconds:.3} MB/s={:.0} peak-rss={peak}", report.length as f64 / seconds / 1e6);
}
