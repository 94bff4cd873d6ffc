//! The .deb on a host that has never seen it.

use std::time::Duration;

use kit::lab::nightshift::{self, AgeIdentity};
use kit::lab::{Host, Lab, Role, Schedule, Topology, available, openshift};

#[test]
fn a_fresh_host_starts_what_the_deb_installed_and_starts_it_again_at_boot() {
    if !kit::require(available()) {
        return;
    }
    let lab = Lab::up("packages", &Topology::new().host("node1", &[Role::Master, Role::Node])).unwrap();
    openshift::lay(&lab).unwrap();
    let key = AgeIdentity::create(&lab).unwrap();
    let config = nightshift::config_text(&lab, &Schedule::due_in(60), &[key.recipient]);
    nightshift::set_up(&lab, &super::deb(), &config).unwrap();
    let node = lab.host("node1");

    let version = node.run("nightshift --version").unwrap().text();
    assert_eq!(version, concat!("nightshift ", env!("CARGO_PKG_VERSION")));
    // The lab's image has no man(1), which would look for the pages that the units name.
    node.run("systemd-analyze verify --man=no /usr/lib/systemd/system/nightshift*.s*").unwrap();
    assert_eq!(state(node), "inactive", "the installation alone started the daemon");

    node.systemctl("enable --now --quiet nightshift.service").unwrap();
    assert_eq!(state(node), "active");
    node.run_for("nightshift check", Duration::from_secs(60)).unwrap();
    node.reboot().unwrap();
    assert_eq!(state(node), "active", "it did not start at boot");
    node.run("nightshift status --json").unwrap();
}

fn state(host: &Host) -> String {
    host.systemctl("show --value --property=ActiveState nightshift.service").unwrap().text()
}
