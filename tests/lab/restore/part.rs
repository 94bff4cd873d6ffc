//! Less than a whole cluster: one member, one file, etcd alone; and a plan that is undone.

use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::managed;
use kit::lab::operator::authorize;
use kit::lab::{Host, Lab, Role};

use super::lost::{
    APPLY, Lost, OPERATOR, apply, check, check_with, every_key_is_back, killed_after, listing, origin, plan,
};

/// A plan that was carried out as far as the members, and is undone: the machines are as they were, by hashes.
pub fn a_plan_is_undone(lab: &Lab, lost: &Lost) {
    let operator = lab.host(OPERATOR);
    let etcd = EtcdCluster::of(lab);
    etcd.etcdctl(etcd.members()[0], "put /of/the/new/cluster value").unwrap();
    let before: Vec<String> = managed(lab).into_iter().map(listing).collect();
    let directory = plan(operator, lost, "");
    check(operator, &directory);
    killed_after(operator, &directory, "etcd1.*write a key through this member.*: verified");
    etcd.etcdctl(etcd.members()[0], "put /written/since value").unwrap();
    let refused =
        operator.try_run_for(&format!("cd /root && nightshift restore undo {directory}"), APPLY).unwrap();
    assert!(refused.status != 0 && refused.stderr.contains("--discard-writes"), "{}", refused.stderr);
    let line = format!("cd /root && nightshift restore undo {directory} --discard-writes");
    let undone = operator.run_for(&line, APPLY).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", undone.text());
    for (host, before) in managed(lab).into_iter().zip(before) {
        assert_eq!(listing(host), before, "{}", host.name);
    }
    etcd.wait_healthy().unwrap();
    for member in etcd.members() {
        let keys = etcd.etcdctl(member, "get '' --prefix --keys-only").unwrap();
        assert_eq!(keys.trim(), "/of/the/new/cluster", "{}", member.name);
    }
    let again = operator.try_run(&format!("cd /root && nightshift restore apply {directory}")).unwrap();
    assert!(again.status != 0 && again.stderr.contains("is undone"), "{}", again.stderr);
}

/// A file and its directory are damaged on a host that runs; nothing else of it is touched.
pub fn one_file_is_put_in_place(lab: &Lab, lost: &Lost) {
    let (operator, node) = (lab.host(OPERATOR), lab.host("node1"));
    let path = "/etc/origin/node/node-config.yaml";
    node.run(&format!("echo damaged > {path} && echo own >> /etc/dnsmasq.conf")).unwrap();
    let line = format!("cd /root && nightshift restore file {} {path} {}", node.name, origin(lost));
    let restored = operator.run_for(&line, APPLY).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", restored.text());
    let here = operator
        .run(&format!(
            "cd /root && nightshift restore file {} {path} {} --to files && cat files{path}",
            node.name,
            origin(lost)
        ))
        .unwrap();
    let there = node.run(&format!("cat {path}")).unwrap().text();
    assert!(here.text().contains(&there) && !there.contains("damaged"), "{there}");
    assert_eq!(listing(node), lost.listings[&node.name], "its time, owner and mode");
    assert!(node.run("tail -n 1 /etc/dnsmasq.conf").unwrap().text().contains("own"), "the rest is untouched");
    assert!(!operator.run("ls -a /root").unwrap().text().contains(".restore-"), "its secrets are removed");
}

/// A member whose data and files are lost joins the others, which are written to meanwhile and are not touched.
pub fn a_member_joins_the_others(lab: &Lab, lost: &Lost, name: &str, unit: &str) {
    let (operator, member) = (lab.host(OPERATOR), lab.host(name));
    let etcd = EtcdCluster::of(lab);
    let others: Vec<&Host> = etcd.members().iter().copied().filter(|host| host.name != member.name).collect();
    member.run(&format!("systemctl stop nightshift {unit} 'pod-*'; sleep 1; rm -rf /var/lib/etcd/member /etc/etcd/etcd.conf")).unwrap();
    let running = |host: &&Host| host.run("pgrep -x etcd").unwrap().text();
    let before: Vec<(String, String)> = others.iter().map(|host| (listing(host), running(host))).collect();
    let load = etcd.write_load(others[0]).unwrap();
    let directory = plan(operator, lost, &format!("--only {}", member.name));
    check(operator, &directory);
    killed_after(operator, &directory, "remove the old member, and add it again: done");
    apply(lab, &directory);
    drop(load);
    etcd.wait_healthy().unwrap();
    let listed = etcd.etcdctl(others[0], "member list").unwrap();
    assert_eq!(
        listed.lines().filter(|line| line.contains("started") && line.ends_with("false")).count(),
        3,
        "{listed}"
    );
    assert_eq!(listing(member), lost.listings[&member.name]);
    let after: Vec<(String, String)> = others.iter().map(|host| (listing(host), running(host))).collect();
    assert_eq!(before, after, "the others' files and processes");
}

/// Its files, its keys, its sets and its settings are lost, as when a machine was installed again.
const INSTALLED_AGAIN: &str = "systemctl disable --quiet --now nightshift && rm -rf /etc/origin /etc/nightshift/* /var/lib/nightshift/* && \
    systemd-tmpfiles --create nightshift.conf && rm /etc/ssh/ssh_host_* && ssh-keygen -A && systemctl restart ssh";

/// A master or a node of a cluster that runs on; the others get its new host key, and it gets to them with its new keys.
pub fn one_host_comes_back(lab: &Lab, lost: &Lost, name: &str) {
    let (operator, host) = (lab.host(OPERATOR), lab.host(name));
    host.run(INSTALLED_AGAIN).unwrap();
    authorize(lab, operator).unwrap();
    let others: Vec<&Host> = managed(lab).into_iter().filter(|other| other.name != host.name).collect();
    let before: Vec<String> = others.iter().map(|other| listing(other)).collect();
    // This host makes no set of the open night any more, as after a night that was closed early. `apply` does not wait for it.
    lab.host("node2").run("rm -rf /var/lib/nightshift/vault/node2.lab.test/20??-??-??").unwrap();
    let directory = plan(operator, lost, &format!("--only {}", host.name));
    check(operator, &directory);
    apply(lab, &directory);
    assert_eq!(listing(host), lost.listings[&host.name]);
    assert_eq!(others.iter().map(|other| listing(other)).collect::<Vec<_>>(), before, "the others' files");
    assert_eq!(host.run("systemctl is-enabled nightshift.service").unwrap().text(), "enabled");
    for master in lab.with(Role::Master) {
        let checked = master.try_run_for("nightshift check --connect", APPLY).unwrap();
        assert_eq!(checked.status, 0, "{}: {}\n{}", master.name, checked.text(), checked.stderr);
    }
}

/// Keys that were written since are lost; the files of masters and nodes stay as they are.
pub fn all_members_go_back_to_the_snapshot(lab: &Lab, lost: &Lost) {
    let (operator, node) = (lab.host(OPERATOR), lab.host("node1"));
    node.run("echo own >> /etc/dnsmasq.conf").unwrap();
    let directory = plan(operator, lost, "--only etcd");
    check(operator, &directory);
    apply(lab, &directory);
    every_key_is_back(lab, operator, &directory, lost);
    assert!(
        node.run("tail -n 1 /etc/dnsmasq.conf").unwrap().text().contains("own"),
        "the nodes are untouched"
    );
}

/// Puts data in the place of a member's that is stopped. `$1` is the snapshot, `$2` the host.
const BY_HAND: &str = r#"
put() {
    cp "$1" by-hand.db
    sh -e -c "$(grep "^etcdutl .* by-hand-$2 " page.txt | sed 's/ --bump-revision .*//')"
    tar -C "by-hand-$2" -cf - member |
        ssh "$2" 'rm -rf /var/lib/etcd/member && tar -C /var/lib/etcd -xf - && chown -R etcd: /var/lib/etcd/member'
}
"#;

/// By hand, one member gets a newer snapshot than the others: all are healthy, accept writes, and contain different data.
pub fn a_member_of_another_snapshot_is_noticed(lab: &Lab, directory: &str) {
    let operator = lab.host(OPERATOR);
    let etcd = EtcdCluster::of(lab);
    let first = etcd.members()[0];
    for name in ["one", "other"] {
        etcd.etcdctl(first, &format!("put /newer/{name} value")).unwrap();
        etcd.etcdctl(first, &format!("snapshot save /root/{name}.db")).unwrap();
    }
    let mut line = format!(
        "set -e; cd /root/{directory}; PATH=/root/etcd:$PATH; scp {0}:/root/one.db {0}:/root/other.db .\n{BY_HAND}",
        first.name
    );
    for member in etcd.members() {
        member.run("systemctl stop etcd").unwrap();
    }
    for (member, snapshot) in etcd.members().iter().zip(["one", "one", "other"]) {
        line += &format!("put {snapshot}.db {}\n", member.name);
    }
    operator.run_for(&line, APPLY).unwrap_or_else(|error| panic!("{error}"));
    for member in etcd.members() {
        member.run("systemctl start --no-block etcd").unwrap();
    }
    etcd.wait_healthy().unwrap();
    for member in etcd.members() {
        etcd.etcdctl(member, "put /written value").unwrap();
    }
    let again =
        operator.try_run_for(&format!("cd /root && nightshift restore apply {directory}"), APPLY).unwrap();
    let output = format!("{}\n{}", again.text(), again.stderr);
    println!("{output}");
    assert!(again.status != 0 && again.stderr.contains("the members contain different data"), "{output}");
}

/// Two of three members are lost, and the third one has what no snapshot has. It was started again, so that it serves nothing.
/// Returns the directory of the plan.
pub fn the_survivors_data_is_restored_when_the_quorum_is_lost(lab: &Lab, lost: &Lost) -> String {
    let operator = lab.host(OPERATOR);
    let etcd = EtcdCluster::of(lab);
    let survivor = etcd.members()[0];
    etcd.etcdctl(survivor, "put /newer/than/every/snapshot value").unwrap();
    let only = format!("--only etcd --survivor {}", survivor.name);
    let refused = |reason: &str| {
        let line = format!("cd /root && nightshift restore plan {} {only}", origin(lost));
        let planned = operator.try_run_for(&line, APPLY).unwrap();
        assert!(planned.status != 0 && planned.stderr.contains(reason), "{}", planned.stderr);
    };
    refused("has a leader, so the quorum is not lost");
    let before = etcd.etcdctl(survivor, "get / --prefix").unwrap();
    for member in &etcd.members()[1..] {
        member.run("systemctl stop nightshift etcd && rm -rf /var/lib/etcd/member").unwrap();
    }
    survivor
        .run(
            "systemctl kill --signal=KILL etcd; systemctl reset-failed etcd; systemctl start --no-block etcd",
        )
        .unwrap();
    refused("stop etcd there (`systemctl stop etcd.service`)");
    survivor.run("systemctl stop etcd").unwrap();
    let directory = plan(operator, lost, &only);
    // Its own etcd replays its log.
    let tools = format!(
        "mkdir /root/own && cp /root/etcd/etcdutl /root/own/ && scp {0}:$(ssh {0} command -v etcd) /root/own/etcd",
        survivor.name
    );
    operator.run(&tools).unwrap();
    check_with(operator, &directory, "/root/own");
    killed_after(operator, &directory, "put etcd.s data in place: done");
    apply(lab, &directory);
    for member in etcd.members() {
        assert_eq!(etcd.etcdctl(member, "get / --prefix").unwrap(), before, "{}", member.name);
    }
    directory
}
