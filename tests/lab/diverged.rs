use std::time::Duration;

use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{configure, enable};
use kit::lab::{Host, Role, Schedule, Topology, available};
use serde_json::Value;

use crate::site::{Site, story, wait_settled, wait_stage};

const NIGHT: Duration = Duration::from_secs(300);

#[test]
fn a_member_that_holds_other_data_is_named_and_the_good_side_is_proved() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new().with(1, Role::Master).with(3, Role::Etcd);
    let evening = Schedule::due_in(-1);
    let site = Site::up("diverged", &topology, &evening);
    // A host that holds every member's set picks one of the good side; a member has its own alone.
    let config = format!("{}\n[drill]\nhosts = [\"master1.lab.test\"]\n", site.config(&evening));
    configure(&site.lab, &config).unwrap();
    let etcd = EtcdCluster::of(&site.lab);
    let [first, liar, _] = etcd.members() else { panic!("three members were asked for") };
    for number in 0..40 {
        etcd.etcdctl(first, &format!("put /kubernetes.io/secrets/truth/{number} the-genuine-value-{number}"))
            .unwrap();
    }
    // What a bug of etcd did to clusters, done by hand while the member is down: no check of its own finds it.
    liar.systemctl("stop etcd.service").unwrap();
    liar.run(
        "cd /var/lib/etcd/member/snap && grep -q the-genuine-value-7 db && \
         perl -0777 -pi -e 's/the-genuine-value-7/a-forged--value-7xx/g' db && chown etcd:etcd db",
    )
    .unwrap();
    liar.systemctl("start etcd.service").unwrap();
    etcd.wait_healthy().unwrap();
    let read = |member| {
        etcd.etcdctl(member, "get --consistency=s --print-value-only /kubernetes.io/secrets/truth/7")
    };
    assert_eq!(read(first).unwrap(), "the-genuine-value-7");
    assert_eq!(read(liar).unwrap(), "a-forged--value-7xx");

    enable(&site.lab).unwrap();
    let master = site.host("master1");
    for member in etcd.members() {
        assert_eq!(wait_stage(member, "snapshot-etcd", NIGHT), "done", "{}", story(member));
    }
    let status = wait_settled(master, NIGHT);
    assert_eq!((status.verdict(), status.exit), ("degraded", 3), "{}", story(master));
    assert!(
        status.reasons().contains(&liar.name) && status.reasons().contains("diverged"),
        "{}",
        status.reasons()
    );
    let text = master.try_run("nightshift status").unwrap().text();
    println!("{text}");
    assert!(text.contains("diverged"), "{text}");

    // Named by the one member that asked, in its manifest and loudly in its journal.
    let asked: Vec<Value> =
        (etcd.members().iter()).filter_map(|member| agreement(&site, &member.name, status.night())).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].pointer("/word").and_then(Value::as_str), Some("diverged"), "{asked:?}");
    let loud = |host: &Host| {
        host.run("journalctl --unit=nightshift --priority=warning --quiet --no-pager -o cat").unwrap().text()
    };
    let told: String = etcd.members().iter().map(|member| loud(member)).collect();
    assert!(
        told.contains(&format!("member {}", liar.name)) && told.contains("has diverged from the other"),
        "{told}"
    );
    let told = loud(master);
    // It is diverged if its own host compared, and suspicious if another one did so alone.
    let liars = format!("{}/{}/etcd", liar.name, status.night());
    let alarms =
        [format!("{liars} has DIVERGED"), format!("{liars} is suspicious: its member {}", liar.name)];
    assert!(alarms.iter().any(|alarm| told.contains(alarm)), "{told}");

    // The night's own drill took the good side, and the master says whose.
    let proofs = status.report.pointer("/night/record/proofs").and_then(Value::as_array).unwrap();
    let [proof] = &proofs[..] else { panic!("{proofs:?}") };
    let proved = proof["set"]["host"].as_str().unwrap();
    assert_eq!(proof["verdict"], "proved", "{proof}");
    assert_ne!(proved, liar.name, "{proof}");
    // By hand the other side is tried too: that it restores does not make it good.
    let set = format!("{}/{}/etcd", liar.name, status.night());
    let drill = master.try_run_for(&format!("nightshift drill {set} 2>&1"), NIGHT).unwrap();
    println!("{}", drill.text());
    let text = master.try_run("nightshift sets").unwrap().text();
    let row = text.lines().find(|line| line.contains(&set)).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains("diverged") || row.contains("suspicious"), "{text}");
}

/// What a master's copy of an etcd set says of how the members agreed.
fn agreement(site: &Site, member: &str, night: &str) -> Option<Value> {
    let path = format!("/var/lib/nightshift/vault/{member}/{night}/etcd/manifest.json");
    let manifest: Value = serde_json::from_slice(&site.host("master1").read_file(&path).unwrap()).unwrap();
    manifest.pointer("/etcd/agreement").cloned()
}
