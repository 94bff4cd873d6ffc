//! Limits of the bandwidth: of all pulls together, and of a remote.

use std::fmt::Write as _;

use kit::lab::Role::{BackupServer, Master, Node};
use kit::site::{Plan, Site};
use serde_json::Value;

use crate::support::{noise, verdict};

const NODE_CONFIG: &str = "/etc/origin/node/node-config.yaml";
const MIB: usize = 1 << 20;

fn took_ms(status: &Value, stage: &str) -> u64 {
    status["night"]["record"]["stages"][stage]["duration_ms"].as_u64().unwrap()
}

/// A night with a master, and two nodes with a file of this size.
fn night(size: usize, drop_in: impl Fn(&Site) -> String) -> Value {
    let plan: &[(&str, &[_])] =
        &[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(plan).build().unwrap();
    let mut noise = noise(size);
    site.lay("n1", NODE_CONFIG, &noise).unwrap();
    noise.reverse();
    site.lay("n2", NODE_CONFIG, &noise).unwrap();
    site.drop_in("m1", "50-rates.toml", &drop_in(&site)).unwrap();
    site.night().unwrap();
    let (_, status) = site.status("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    status
}

#[test]
fn all_pulls_share_one_limit_and_its_waits_are_no_timeouts() {
    const SIZE: usize = 3 * MIB;
    let free = took_ms(&night(SIZE, |_| String::new()), "pull-nodes");
    // Each host's share is small enough that its first bytes come later than the timeout.
    let limited = night(SIZE, |_| "[ssh]\npull-rate = \"1MiB\"\nidle-timeout = \"1s\"\n".to_owned());
    let limited = took_ms(&limited, "pull-nodes");
    // 6 MiB at 1 MiB/s.
    assert!(limited >= 5_000, "{limited} ms");
    assert!(limited > 2 * free, "{limited} ms with a limit, {free} ms without");
}

#[test]
fn a_remote_has_a_limit_of_its_own() {
    const SIZE: usize = 3 * MIB;
    let free = took_ms(&night(SIZE, |_| String::new()), "ship-archive");
    let limited = night(SIZE, |site| {
        let mut text = String::from("[ssh]\nidle-timeout = \"1s\"\n\n");
        let _ = write!(
            text,
            "[[remote]]\nname = \"backup-server\"\nurl = \"sftp://{}@127.0.0.1:{}{}\"\nidentity = \"{}\"\nrate = \"1MiB\"\n",
            site.user(),
            site.host("backup").port(),
            site.inbox().display(),
            site.host("m1").remote_identity().display()
        );
        text
    });
    let limited = took_ms(&limited, "ship-archive");
    // The archive has both nodes' files, of which noise does not compress.
    assert!(limited >= 5_000, "{limited} ms");
    assert!(limited > 2 * free, "{limited} ms with a limit, {free} ms without");
}
