//! Measures a walk of a snapshot or a database file: `walk FILE`, or `walk --hashed FILE`, which computes the SHA-256 before and
//! does not count it (a drill computes it while it unpacks the file).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::fs::{self, File};
use std::time::Instant;

use nightshift_snapshot::{Ending, walk, walk_hashed};

fn main() {
    let path = std::env::args_os().nth_back(0).expect("usage: walk [--hashed] FILE");
    let hashed = std::env::args_os().nth(1).is_some_and(|word| word == "--hashed");
    let file = File::open(path).unwrap();
    let ending = hashed.then(|| Ending::of(&file).unwrap());
    let begun = Instant::now();
    let report = match ending {
        Some(ending) => walk_hashed(&file, ending, &mut ()).unwrap(),
        None => walk(&file, &mut ()).unwrap(),
    };
    let seconds = begun.elapsed().as_secs_f64();
    println!("{report:#?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("seconds={seconds:.3} MB/s={:.0} peak-rss={peak}", report.length as f64 / seconds / 1e6);
}
