//! A cluster that was lost, rebuilt on new machines from the remote's files, the age key and a login.

pub mod lost;
mod part;
mod pods;

use kit::lab::{Host, available};

use lost::{
    Cluster, OPERATOR, a_second_run_changes_nothing, apply, check, every_key_is_back, files_are_back,
    hand_over, killed_after, new_machines, night_before, nights_are_complete, plan,
};

#[test]
fn a_lost_cluster_is_rebuilt_on_new_machines_from_one_archive() {
    if !kit::require(available()) {
        return;
    }
    let cluster = Cluster::of_services();
    let lost = night_before(&cluster);
    let lab = new_machines(&cluster);
    let operator = lab.host(OPERATOR);
    hand_over(operator, &lost);
    part::a_plan_is_undone(&lab, &lost);
    let directory = plan(operator, &lost, "");
    check(operator, &directory);
    for step in ["3.12", "4.7", "6.1"] {
        killed_after(operator, &directory, &format!("^{step} "));
        if step == "4.7" {
            nothing_held_starts_at_boot(lab.host("etcd1"));
        }
    }
    apply(&lab, &directory);
    let status = operator.try_run(&format!("cd /root && nightshift restore status {directory}")).unwrap();
    assert_eq!(status.status, 0, "{}", status.text());
    every_key_is_back(&lab, operator, &directory, &lost);
    files_are_back(&lab, &lost);
    nights_are_complete(&lab);
    a_second_run_changes_nothing(&lab, operator, &directory);
    part::one_file_is_put_in_place(&lab, &lost);
    for host in ["master2", "node1"] {
        part::one_host_comes_back(&lab, &lost, host);
    }
    part::a_member_joins_the_others(&lab, &lost, "etcd3", "etcd.service");
    let directory = part::the_survivors_data_is_restored_when_the_quorum_is_lost(&lab, &lost);
    part::a_member_of_another_snapshot_is_noticed(&lab, &directory);
}

/// Without the hold, a member with an emptied data directory would start as an empty etcd that accepts writes.
fn nothing_held_starts_at_boot(member: &Host) {
    member.reboot().unwrap();
    let state = member.try_run("systemctl is-active etcd.service nightshift.service").unwrap().text();
    assert!(!state.lines().any(|line| line == "active"), "{state}");
    let refused = member.try_run("systemctl start etcd.service").unwrap();
    assert_ne!(refused.status, 0, "a held unit starts");
}
