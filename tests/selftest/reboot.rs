use std::time::Duration;

use kit::lab::{Host, Lab, Role, Topology, available};

#[test]
fn hosts_boot_reach_each_other_and_come_back_after_a_reboot() {
    if !kit::require(available()) {
        return;
    }
    let lab = Lab::up("reboot", &Topology::new().with(1, Role::Master).with(2, Role::Node)).unwrap();
    let (master, node) = (lab.host("master1"), lab.host("node1"));
    assert_eq!(master.run("hostname").unwrap().text(), "master1.lab.test");
    assert!(answers_ssh(master, node));

    let machine_id = node.read_file("/etc/machine-id").unwrap();
    node.run("logger --tag lab before the reboot").unwrap();
    node.wait_journal(&["--identifier=lab"], Duration::from_secs(10), |entry| {
        entry.message() == "before the reboot"
    })
    .unwrap();
    node.reboot().unwrap();
    assert_eq!(node.read_file("/etc/machine-id").unwrap(), machine_id);
    assert_eq!(node.journal(&["--identifier=lab"]).unwrap().len(), 1, "the journal outlives a reboot");
    assert!(answers_ssh(master, node));

    node.cut_link().unwrap();
    assert!(!answers_ssh(master, node));
    assert!(answers_ssh(master, lab.host("node2")), "only the cut host is away");
    node.join_link().unwrap();
    assert!(answers_ssh(master, node));

    node.shutdown().unwrap();
    assert!(!node.is_up());
    assert!(!answers_ssh(master, node));
    node.start().unwrap();
    assert!(answers_ssh(master, node));
}

/// Whether an SSH server names its key within two seconds.
fn answers_ssh(from: &Host, to: &Host) -> bool {
    let scan = from.try_run(&format!("ssh-keyscan -T 2 -t ed25519 {} 2>/dev/null", to.name)).unwrap();
    scan.text().contains("ssh-ed25519")
}
