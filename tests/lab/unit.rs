use std::time::Duration;

use kit::lab::cmd::poll;
use kit::lab::nightshift::CONFIG;
use kit::lab::{Host, HostFile, Role, Schedule, Topology, available};

use crate::site::{Site, story, vault_hashes, wait_settled, wait_stage};

const SOON: Duration = Duration::from_secs(60);
const PEER_KEYS: &str = "/var/lib/nightshift-peer/.ssh/authorized_keys";

#[test]
fn systemctl_tells_of_a_bad_config_at_a_reload_and_at_a_start() {
    if !kit::require(available()) {
        return;
    }
    let evening = Schedule::due_in(60);
    let site = Site::up("reload", &Topology::new().host("node1", &[Role::Master, Role::Node]), &evening);
    let node = site.host("node1");
    node.systemctl("enable --now --quiet nightshift.service").unwrap();
    let status_line = shown(node, "StatusText");

    let bad = site.config(&evening).replace("\nopens = ", "\noppens = ");
    write_config(node, &bad);
    let reload = node.try_run("systemctl reload nightshift.service").unwrap();
    assert_ne!(reload.status, 0, "a refused reload looks like a good one");
    let refused = node
        .wait_journal(&["NIGHTSHIFT_EVENT=config-refused"], SOON, |_| true)
        .unwrap_or_else(|error| panic!("{error}\n{}", story(node)));
    for told in [refused.message(), &story(node)] {
        assert!(
            told.contains("nightshift.toml:") && told.contains("oppens") && told.contains("opens"),
            "{told}"
        );
    }
    assert_eq!((shown(node, "ActiveState"), shown(node, "SubState")), ("active".into(), "running".into()));
    assert_eq!(shown(node, "StatusText"), status_line, "the old schedule goes on");

    // Started with it, the unit fails with the code that says why, and is left alone.
    assert_ne!(node.try_run_for("systemctl restart nightshift.service", SOON).unwrap().status, 0);
    assert_eq!(
        ["ActiveState", "Result", "ExecMainStatus", "NRestarts"].map(|property| shown(node, property)),
        ["failed", "exit-code", "78", "0"],
        "{}",
        story(node)
    );

    write_config(node, &site.config(&evening.moved(evening.minutes_gone(), evening.minutes_gone())));
    node.systemctl("reset-failed nightshift.service").unwrap();
    node.systemctl("start nightshift.service").unwrap();
    assert_eq!(wait_stage(node, "collect-node", SOON), "done", "{}", story(node));
}

#[test]
fn an_upgrade_drains_what_runs_and_no_removal_touches_the_vault() {
    if !kit::require(available()) {
        return;
    }
    let evening = Schedule::due_in(60);
    let site = Site::up("upgrade", &Topology::new().host("node1", &[Role::Master, Role::Node]), &evening);
    let node = site.host("node1");

    upgrade(node);
    assert_eq!(shown(node, "ActiveState"), "inactive", "an upgrade started what was not running");

    // A stage that is held for some seconds by what it collects.
    let slow =
        "\n[files]\nnode = [\"/etc/hostname\", { command = [\"sleep\", \"12\"], as = \"slow.txt\" }]\n";
    write_config(node, &(site.config(&evening) + slow));
    node.systemctl("enable --now --quiet nightshift.service").unwrap();
    let before = shown(node, "MainPID");
    node.run("nightshift run collect-node").unwrap();
    upgrade(node);
    assert_ne!(shown(node, "MainPID"), before, "the new version is not running");
    assert_eq!(shown(node, "ActiveState"), "active");
    // The upgrade ended the command that the stage waited for. What it interrupted continues at once, so it may be running already.
    let again = node.try_run("nightshift run collect-node").unwrap();
    assert!([0, 75].contains(&again.status), "{}", again.stderr);
    assert_eq!(wait_stage(node, "collect-node", SOON), "done", "{}", story(node));
    assert_eq!(shown(node, "UnitFileState"), "enabled");
    node.run("nightshift run night").unwrap();
    let status = wait_settled(node, Duration::from_secs(120));
    assert_eq!((status.verdict(), status.exit), ("complete", 0), "{}", story(node));
    node.systemctl("disable --quiet nightshift.service").unwrap();
    let disabled = node.try_run("nightshift status").unwrap();
    assert!(disabled.status == 3 && disabled.text().contains("is disabled"), "{}", disabled.text());
    node.systemctl("enable --quiet nightshift.service").unwrap();

    let held = vault_hashes(node);
    assert!(held.contains("/node/slow.txt") && held.contains("/master/"), "{held}");
    for removal in ["--remove", "--purge"] {
        node.run_for(&format!("dpkg {removal} nightshift"), Duration::from_secs(150)).unwrap();
        assert_eq!(node.try_run("systemctl is-active nightshift.service").unwrap().text(), "inactive");
        assert_eq!(node.try_run("pidof nightshift").unwrap().text(), "");
        assert_eq!(vault_hashes(node), held, "{removal} touched the vault");
        node.run("test -s /etc/nightshift/ssh/id_ed25519").unwrap();
        assert_ne!(
            node.try_run(&format!("test -e {PEER_KEYS}")).unwrap().status,
            0,
            "{removal}: peers could still log in"
        );
        if removal == "--remove" {
            upgrade(node);
            node.run(&format!("test -s {PEER_KEYS}")).unwrap();
        }
    }
    assert_ne!(
        node.try_run("test -e /var/lib/nightshift-peer").unwrap().status,
        0,
        "peers could still log in"
    );
}

fn upgrade(host: &Host) {
    host.run_for("dpkg --install /root/nightshift.deb", Duration::from_secs(150)).unwrap();
    poll("the end of the upgrade", SOON, || match shown(host, "ActiveState").as_str() {
        "active" | "inactive" => Ok(()),
        state => Err(state.to_owned()),
    })
    .unwrap();
}

fn shown(host: &Host, property: &str) -> String {
    host.systemctl(&format!("show --value --property={property} nightshift.service")).unwrap().text()
}

fn write_config(host: &Host, text: &str) {
    host.write_file(&HostFile::new(CONFIG, 0o644, text)).unwrap();
}
