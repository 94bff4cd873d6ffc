//! A night without etcd.

use kit::lab::Role::{Etcd, Master, Node};
use kit::site::Plan;

use crate::support::{outcome, reason, verdict};

#[test]
fn without_etcd_its_stage_fails_with_the_reason_and_all_else_goes_on() {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd]), ("n1", &[Node])]).build().unwrap();
    site.drop_in("e1", "50-retries.toml", "[stage.snapshot-etcd]\nretries = 0\n").unwrap();
    site.etcd.as_mut().unwrap().stop();
    for host in ["e1", "n1"] {
        site.start(host).unwrap();
        site.settle(host).unwrap();
    }
    let (code, status) = site.status("e1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "failed"));
    assert_eq!(outcome(&status, "snapshot-etcd"), "failed");
    let endpoint = site.etcd.as_ref().unwrap().endpoint("e1.site.test").unwrap();
    assert!(reason(&status, "snapshot-etcd").contains(&endpoint), "{}", reason(&status, "snapshot-etcd"));

    // The master hears from the host itself why there is nothing to wait for.
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(site.status("m1").unwrap().0, 3);
    assert_eq!(verdict(&status), "failed");
    assert_eq!(outcome(&status, "pull-etcd"), "degraded");
    assert!(reason(&status, "pull-etcd").contains("it reports: failed"), "{}", reason(&status, "pull-etcd"));
    for stage in ["pull-nodes", "collect-master", "mirror-masters", "ship-archive"] {
        assert_eq!(outcome(&status, stage), "done", "{stage}");
    }
    let reasons = status["night"]["reasons"].to_string();
    assert!(reasons.contains("no good etcd snapshot of the cluster"), "{reasons}");
}
