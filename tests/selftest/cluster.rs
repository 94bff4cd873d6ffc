use std::time::Duration;

use kit::lab::cmd::poll;
use kit::lab::etcd::EtcdCluster;
use kit::lab::{Lab, Role, Topology, available, openshift};

#[test]
fn etcd_cluster_of_three_takes_writes_over_tls() {
    if !kit::require(available()) {
        return;
    }
    let lab = Lab::up("etcd", &Topology::new().with(3, Role::Etcd)).unwrap();
    let etcd = EtcdCluster::found(&lab).unwrap();
    let [first, second, third] = etcd.members() else {
        panic!("three members were asked for");
    };
    etcd.etcdctl(first, "put /kubernetes.io/canary alive").unwrap();
    assert_eq!(etcd.etcdctl(third, "get --print-value-only /kubernetes.io/canary").unwrap(), "alive");
    let plain =
        first.try_run(&format!("etcdctl --endpoints=http://{}:2379 get /", second.address())).unwrap();
    assert_ne!(plain.status, 0, "etcd answered without TLS");

    let before = etcd.revision(second).unwrap();
    let load = etcd.write_load(first).unwrap();
    poll("the write load's first hundred revisions", Duration::from_secs(30), || {
        let now = etcd.revision(second).map_err(|error| error.to_string())?;
        if now > before + 100 { Ok(()) } else { Err(format!("revision {now}")) }
    })
    .unwrap();
    drop(load);

    etcd.fill(first, 8 << 20).unwrap();
    third.kill().unwrap();
    poll("a write without the third member", Duration::from_secs(30), || {
        (etcd.etcdctl(first, "put /kubernetes.io/canary outlives-a-member"))
            .map_err(|error| error.to_string())
    })
    .unwrap();
    first.kill().unwrap();
    for member in [third, first] {
        member.power_on().unwrap();
    }
    for member in etcd.members() {
        member.wait_running(Duration::from_secs(60)).unwrap();
    }
    etcd.wait_healthy().unwrap();
    assert_eq!(
        etcd.etcdctl(second, "get --print-value-only /kubernetes.io/canary").unwrap(),
        "outlives-a-member"
    );
}

#[test]
fn a_full_cluster_has_its_files_with_their_real_owners_and_modes() {
    if !kit::require(available()) {
        return;
    }
    let lab = Lab::up("full", &Topology::full()).unwrap();
    openshift::lay(&lab).unwrap();
    let mode_of =
        |host: &str, path: &str| lab.host(host).run(&format!("stat -c '%a %U:%G' {path}")).unwrap().text();
    assert_eq!(mode_of("master1", "/etc/origin/master/ca.key"), "600 root:root");
    assert_eq!(mode_of("node4", "/etc/origin/node/node-config.yaml"), "600 root:root");
    assert_eq!(mode_of("agentless1", "/var/spool/cron/root"), "600 root:root");
    assert_eq!(mode_of("backup1", "/home/cloud-user"), "700 cloud-user:cloud-user");
}
