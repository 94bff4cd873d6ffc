//! A control plane of static pods, in the layout of OpenShift 3.11.

use kit::lab::{Host, Role, available, pods};

use super::lost::{
    Cluster, OPERATOR, a_second_run_changes_nothing, apply, check, every_key_is_back, files_are_back,
    hand_over, killed_after, new_machines, night_before, nights_are_complete, plan,
};
use super::part;

#[test]
fn a_cluster_of_static_pods_is_rebuilt_and_no_pod_starts_before_its_step() {
    if !kit::require(available()) {
        return;
    }
    let cluster = Cluster::of_static_pods();
    let lost = night_before(&cluster);
    let lab = new_machines(&cluster);
    let operator = lab.host(OPERATOR);
    hand_over(operator, &lost);
    let directory = plan(operator, &lost, "");
    check(operator, &directory);
    killed_after(operator, &directory, "put etcd.s data in place: done");
    no_pod_starts_at_boot(lab.host("master1"));
    killed_after(operator, &directory, "master3.*start kubelet, /etc/origin/node/pods/etcd.yaml");
    let api = lab.host("master3").try_run("systemctl is-active pod-master-api").unwrap();
    assert_ne!(api.status, 0, "the API server runs before etcd was compared");
    apply(&lab, &directory);
    every_key_is_back(&lab, operator, &directory, &lost);
    files_are_back(&lab, &lost);
    for host in lab.with(Role::Master) {
        let pods = "pod-master-etcd pod-master-api pod-master-controllers";
        host.run(&format!("systemctl is-active {pods}")).unwrap_or_else(|error| panic!("{error}"));
    }
    nights_are_complete(&lab);
    a_second_run_changes_nothing(&lab, operator, &directory);
    part::a_member_joins_the_others(&lab, &lost, "master2", pods::UNIT);
    part::all_members_go_back_to_the_snapshot(&lab, &lost);
}

/// The kubelet is held, so that an etcd without its data does not start.
fn no_pod_starts_at_boot(master: &Host) {
    master.reboot().unwrap();
    let running = master.try_run(&format!("systemctl is-active {}; pgrep -x etcd", pods::UNIT)).unwrap();
    assert_ne!(running.status, 0, "{}", running.text());
}
