use kit::lab::{Host, Lab, Role, Topology, available, nightshift};

#[test]
fn masters_log_in_where_their_keys_are_authorised_and_nowhere_else() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new().with(1, Role::Master).with(1, Role::Agentless).with(1, Role::BackupServer);
    let lab = Lab::up("login", &topology).unwrap();
    nightshift::introduce(&lab, "/etc/nightshift/authorized_keys/nightshift-peer").unwrap();
    let master = lab.host("master1");
    let (peer, remote) = ("id_ed25519", "id_backup_server");

    assert!(reads(master, peer, "root@agentless1.lab.test", "/etc/hostname"));
    assert!(!runs(master, peer, "root@agentless1.lab.test"), "an SFTP key ran a command");
    assert!(!reads(master, remote, "root@agentless1.lab.test", "/etc/hostname"));

    assert!(runs(master, remote, "cloud-user@backup1.lab.test"));
    assert!(!runs(master, peer, "cloud-user@backup1.lab.test"));
}

fn reads(from: &Host, key: &str, to: &str, path: &str) -> bool {
    let line = format!("echo 'get {path} /dev/null' | sftp -b - {} {to}", options(key));
    from.try_run(&line).unwrap().status == 0
}

/// Whether a command's own words come back.
fn runs(from: &Host, key: &str, to: &str) -> bool {
    let line = format!("timeout 10 ssh {} {to} echo it ran", options(key));
    from.try_run(&line).unwrap().text() == "it ran"
}

fn options(key: &str) -> String {
    format!(
        "-o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o IdentityFile=/etc/nightshift/ssh/{key} \
         -o UserKnownHostsFile=/etc/nightshift/ssh/known_hosts"
    )
}
