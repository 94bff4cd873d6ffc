//! Peers that are not who they were, or let nobody in: said clearly, and nobody else suffers.

use kit::lab::Role::{Master, Node};
use kit::site::{Plan, Site};

use crate::support::{outcome, reason, set_report, verdict};

/// A master's night with two nodes, one of them made strange after its set was published.
fn night_with(make_strange: impl FnOnce(&mut Site)) -> Site {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node])]).build().unwrap();
    for node in ["n1", "n2"] {
        site.start(node).unwrap();
        site.settle(node).unwrap();
    }
    make_strange(&mut site);
    site.start("m1").unwrap();
    site
}

fn names_the_stranger(site: &Site, why: &str) {
    let status = site.settle("m1").unwrap();
    assert_eq!(site.status("m1").unwrap().0, 3, "degraded is exit code 3");
    assert_eq!(verdict(&status), "degraded");
    let report = set_report(&status, "n1.site.test", "node");
    assert_eq!(report["fate"], "missing");
    assert!(report["reason"].as_str().unwrap().contains(why), "{report:#}");
    assert_eq!(set_report(&status, "n2.site.test", "node")["fate"], "pulled");
    assert!(reason(&status, "pull-nodes").contains("n1.site.test"), "{}", reason(&status, "pull-nodes"));
    assert_eq!(outcome(&status, "collect-master"), "done");
    let log = site.log("m1");
    assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(why)), "{log}");
    let reasons = status["night"]["reasons"].as_array().unwrap();
    assert!(
        reasons
            .iter()
            .any(|reason| reason["text"].as_str().unwrap().starts_with("n1.site.test node: missing"))
    );
}

#[test]
fn a_changed_host_key_is_refused_and_named_and_the_other_peers_are_unharmed() {
    let site = night_with(|site| site.host_mut("n1").sshd.change_host_key().unwrap());
    names_the_stranger(&site, "host key");
    let pins = std::fs::read_to_string(site.known_hosts()).unwrap();
    let stranger = site.host("n1").sshd.public_key().unwrap();
    assert!(!pins.contains(&stranger), "a key is never learned by itself");
}

#[test]
fn a_cluster_of_one_host_is_complete_without_a_pin_and_one_with_peers_names_the_remedy() {
    let mut site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    std::fs::remove_file(site.known_hosts()).unwrap();
    site.night().unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{status:#}");
    for stage in ["pull-etcd", "pull-nodes", "mirror-masters"] {
        assert_eq!(outcome(&status, stage), "done", "{status:#}");
    }
    let site = night_with(|site| std::fs::remove_file(site.known_hosts()).unwrap());
    let status = site.settle("m1").unwrap();
    assert!(reason(&status, "pull-nodes").contains("run `nightshift trust`"), "{status:#}");
}

#[test]
fn a_refused_login_is_named_and_the_other_peers_are_unharmed() {
    let site = night_with(|site| site.host("n1").sshd.authorize(&[]).unwrap());
    names_the_stranger(&site, "login");
}
