use std::time::Duration;

use kit::lab::nightshift::enable;
use kit::lab::{Host, Role, Schedule, Topology, available};

use crate::site::{Site, story, wait_stage};

#[test]
fn a_peers_login_reads_the_vault_and_nothing_else() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new()
        .host("master1", &[Role::Master, Role::Etcd])
        .host("master2", &[Role::Master])
        .with(1, Role::Agentless)
        .with(1, Role::BackupServer);
    let site = Site::up("login", &topology, &Schedule::due_in(-1));
    let (master, other) = (site.host("master1"), site.host("master2"));
    enable(&site.lab).unwrap();
    for host in [master, other] {
        assert_eq!(wait_stage(host, "prune", Duration::from_secs(180)), "done", "{}", story(host));
    }

    let (peer, remote) = ("id_ed25519", "id_backup_server");
    let at_other = "nightshift-peer@master2.lab.test";
    let night = other.run("ls /var/lib/nightshift/vault/master2.lab.test | grep -v now.json").unwrap().text();
    let set = format!("/var/lib/nightshift/vault/master2.lab.test/{night}/master");
    for shared in ["manifest.json", "etc/origin/master/ca.key", "var/spool/cron/root"] {
        assert!(reads(master, peer, at_other, &format!("{set}/{shared}")), "{shared} cannot be pulled");
    }
    let kept: Vec<String> = other
        .run("find /var/lib/nightshift/sent /var/lib/nightshift/outbox /var/lib/nightshift/records /var/lib/nightshift/metrics /etc/nightshift -type f")
        .unwrap()
        .text()
        .lines()
        .map(str::to_owned)
        .chain(["/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/etc/origin/master/ca.key"].map(str::to_owned))
        .collect();
    for kind in ["sent/", "records/", "metrics/", "ssh/id_ed25519", "nightshift.toml"] {
        assert!(kept.iter().any(|path| path.contains(kind)), "nothing to be refused in {kind}: {kept:?}");
    }
    for secret in &kept {
        assert!(!reads(master, peer, at_other, secret), "a peer's login reads {secret}");
    }
    for folder in ["outbox", "sent", "records", "metrics"].map(|name| format!("/var/lib/nightshift/{name}")) {
        assert!(!sftp(master, peer, at_other, &format!("ls {folder}")), "a peer's login lists {folder}");
    }
    for change in [
        format!("put /etc/hostname {set}/planted"),
        format!("rm {set}/manifest.json"),
        format!("chmod 777 {set}"),
    ] {
        assert!(!sftp(master, peer, at_other, &change), "a peer's login did: {change}");
    }
    assert!(!runs(master, peer, at_other), "a peer's login has a shell");
    assert!(!forwards(master, peer, at_other), "a peer's login opens connections");

    // Each key opens what it was made for.
    let (agentless, backup) = ("root@agentless1.lab.test", "cloud-user@backup1.lab.test");
    assert!(reads(master, peer, agentless, "/etc/hostname"));
    assert!(!runs(master, peer, agentless), "an SFTP key ran a command");
    assert!(!reads(master, remote, agentless, "/etc/hostname"));
    assert!(!reads(master, remote, at_other, &format!("{set}/manifest.json")));
    assert!(runs(master, remote, backup), "what was shipped cannot be hashed there");
    assert!(!runs(master, peer, backup));
    assert!(!forwards(master, remote, backup), "the key for the backup server opens connections");
}

fn reads(from: &Host, key: &str, to: &str, path: &str) -> bool {
    sftp(from, key, to, &format!("get {path} /dev/null"))
}

fn sftp(from: &Host, key: &str, to: &str, line: &str) -> bool {
    from.try_run(&format!("echo '{line}' | sftp -b - {} {to}", options(key))).unwrap().status == 0
}

/// Whether a command's own words come back.
fn runs(from: &Host, key: &str, to: &str) -> bool {
    let line = format!("timeout 10 ssh {} {to} echo it ran", options(key));
    from.try_run(&line).unwrap().text() == "it ran"
}

/// Whether the SSH server over there answers through the login.
fn forwards(from: &Host, key: &str, to: &str) -> bool {
    let line = format!("timeout 10 ssh {} -W localhost:22 {to} < /dev/null", options(key));
    from.try_run(&line).unwrap().text().contains("SSH-2.0")
}

fn options(key: &str) -> String {
    format!(
        "-o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o IdentityFile=/etc/nightshift/ssh/{key} \
         -o UserKnownHostsFile=/etc/nightshift/ssh/known_hosts"
    )
}
