use kit::lab::{DiskSpec, FileSystem, Lab, Role, Topology, available};

#[test]
fn a_power_cut_loses_what_was_not_synced() {
    loses_what_was_not_synced("power", FileSystem::Ext4);
}

#[test]
fn a_power_cut_loses_what_was_not_synced_on_xfs() {
    loses_what_was_not_synced("powerxfs", FileSystem::Xfs);
}

fn loses_what_was_not_synced(lab_name: &str, file_system: FileSystem) {
    if !kit::require(available()) {
        return;
    }
    let disk = DiskSpec { file_system, mib: 320 };
    let lab = Lab::up(lab_name, &Topology::new().with(1, Role::Node).state_disk(disk)).unwrap();
    let node = lab.host("node1");
    node.run(
        "cd /var/lib/nightshift && \
         echo careless > careless.partial && mv careless.partial careless && \
         echo careful > careful.partial && sync careful.partial && mv careful.partial careful && sync .",
    )
    .unwrap();
    node.power_cut().unwrap();
    node.start().unwrap();
    let kept = node.read_file("/var/lib/nightshift/careful").unwrap();
    assert_eq!(String::from_utf8_lossy(&kept), "careful\n");
    let lost = node.run("cat /var/lib/nightshift/careless 2>/dev/null || true").unwrap();
    assert_eq!(lost.text(), "", "a file renamed without a sync came back with its bytes");
}

#[test]
fn a_power_cut_of_a_whole_host_loses_what_was_not_synced_anywhere() {
    if !kit::require(available()) {
        return;
    }
    let disk = DiskSpec { file_system: FileSystem::Ext4, mib: 1024 };
    let lab = Lab::up("whole", &Topology::new().with(1, Role::Node).host_disk(disk)).unwrap();
    let node = lab.host("node1");
    node.run("sync && echo changed > /etc/issue && sync /etc/issue && mkdir /srv/new && sync /srv && echo lost > /etc/motd").unwrap();
    for _ in 0..2 {
        node.power_cut().unwrap();
        node.start().unwrap();
    }
    let kept = node.run("hostname; cat /etc/issue; ls -d /srv/new; cat /etc/motd").unwrap().text();
    assert!(kept.starts_with("node1.lab.test\nchanged\n/srv/new"), "{kept}");
    assert!(!kept.contains("lost"), "what was not synced came back: {kept}");
}

#[test]
fn a_kill_keeps_what_was_written() {
    if !kit::require(available()) {
        return;
    }
    let disk = DiskSpec { file_system: FileSystem::Ext4, mib: 64 };
    let lab = Lab::up("kill", &Topology::new().with(1, Role::Node).state_disk(disk)).unwrap();
    let node = lab.host("node1");
    node.run("echo careless > /var/lib/nightshift/careless").unwrap();
    node.kill().unwrap();
    node.start().unwrap();
    assert_eq!(node.read_file("/var/lib/nightshift/careless").unwrap(), b"careless\n");
}
