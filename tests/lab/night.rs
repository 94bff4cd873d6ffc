use std::fs;
use std::path::Path;
use std::time::Duration;

use kit::lab::cmd::Cmd;
use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{self, AgeIdentity, managed};
use kit::lab::{Host, Lab, Role, Schedule, Topology, available, openshift, package};

use crate::site::{Status, story, vault_hashes, wait_settled, wait_stage};

const NIGHT: Duration = Duration::from_secs(300);

#[test]
fn an_unattended_night_of_twelve_hosts() {
    if !kit::require(available()) {
        return;
    }
    let deb = package().unwrap();
    let lab = Lab::up("night", &Topology::full()).unwrap();
    openshift::lay(&lab).unwrap();
    let etcd = EtcdCluster::found(&lab).unwrap();
    let _load = etcd.write_load(etcd.members()[0]).unwrap();

    nightshift::install(&lab, &deb).unwrap();
    for host in managed(&lab) {
        assert_eq!(shown(host, "ActiveState"), "inactive", "installing started it on {}", host.name);
        assert_eq!(shown(host, "UnitFileState"), "disabled");
    }
    let key = AgeIdentity::create(&lab).unwrap();
    let evening = Schedule::due_in(120);
    let config =
        |schedule: &Schedule| nightshift::config_text(&lab, schedule, std::slice::from_ref(&key.recipient));
    nightshift::configure(&lab, &config(&evening)).unwrap();
    nightshift::introduce(&lab).unwrap();
    nightshift::enable(&lab).unwrap();
    the_unit_is_hardened(lab.host("master1"));
    for host in managed(&lab) {
        assert!(
            shown(host, "StatusText").contains(": 0 of "),
            "{}: {}",
            host.name,
            shown(host, "StatusText")
        );
    }

    let soon = evening.minutes_gone() + 1;
    nightshift::configure(&lab, &config(&evening.moved(soon, soon + 1))).unwrap();
    nightshift::reload(&lab).unwrap();
    // From here on nobody does anything but look.
    for host in managed(&lab) {
        assert_eq!(wait_stage(host, "prune", NIGHT), "done", "{}", story(host));
    }
    let night = wait_settled(lab.host("master1"), NIGHT).night().to_owned();
    for host in managed(&lab) {
        wait_settled(host, NIGHT);
        the_night_is_complete(host, &night);
        the_journal_tells_it(host, &night);
        println!("{:<20} {}", host.name, memory(host));
    }
    every_master_shows_a_proof(&lab, &etcd);
    every_master_holds_everything(&lab, &night);
    the_snapshots_are_of_the_cluster_under_load(&lab, &etcd, &night);
    the_backup_server_holds_three_archives(&lab, &key, &night);
}

fn shown(host: &Host, property: &str) -> String {
    host.systemctl(&format!("show --value --property={property} nightshift.service")).unwrap().text()
}

fn the_unit_is_hardened(host: &Host) {
    let report = host.run("systemd-analyze security --no-pager nightshift.service").unwrap().text();
    let overall = report.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
    println!("{overall}");
    let exposure = overall.split_whitespace().find_map(|word| word.parse::<f32>().ok()).unwrap();
    assert!(exposure <= 1.5, "{report}");
}

fn the_night_is_complete(host: &Host, night: &str) {
    let status = Status::of(host);
    assert_eq!(
        (status.night(), status.verdict(), status.exit),
        (night, "complete", 0),
        "{}: {}\n{}",
        host.name,
        status.reasons(),
        story(host)
    );
    let line = shown(host, "StatusText");
    let all = format!("{0} of {0} stages done", stages(host));
    assert!(line.contains(night) && line.contains(&all), "{}: {line}", host.name);
    assert!(host.systemctl("status nightshift.service").unwrap().text().contains(&line));
    assert_eq!(shown(host, "NRestarts"), "0");
}

/// How many stages a host of one role has: its own, the drill on masters and etcd hosts, and pruning.
fn stages(host: &Host) -> usize {
    if host.has(Role::Master) {
        8
    } else if host.has(Role::Etcd) {
        3
    } else {
        2
    }
}

/// What an auditor reads: each stage begun and ended well, each set and archive by name, and nothing amiss.
fn the_journal_tells_it(host: &Host, night: &str) {
    let of_night = format!("NIGHTSHIFT_NIGHT={night}");
    let entries = host.journal(&[&of_night]).unwrap();
    let count =
        |event: &str| entries.iter().filter(|entry| entry.field("NIGHTSHIFT_EVENT") == Some(event)).count();
    let stages = stages(host);
    assert_eq!(
        (count("night-opened"), count("stage-started"), count("stage-finished"), count("set-published")),
        // What a master makes of the agentless node is published there too.
        (1, stages, stages, if host.has(Role::Master) { 2 } else { 1 }),
        "{}",
        story(host)
    );
    if host.has(Role::Master) {
        let others = 3 + 4 + 2;
        assert_eq!(
            (count("set-pulled"), count("archive-packed"), count("archive-shipped")),
            (others, 1, 1),
            "{}",
            story(host)
        );
    }
    // Nor does it say anything that nobody could make sense of.
    let amiss =
        host.run("journalctl --unit=nightshift --priority=warning --quiet --no-pager").unwrap().text();
    assert_eq!(amiss, "", "{}", host.name);
    for entry in &entries {
        assert_eq!(entry.field("PRIORITY"), Some("6"), "{}: {}", host.name, entry.message());
        assert!(entry.field("MESSAGE_ID").is_some_and(|id| id.len() == 32), "{}", entry.message());
        assert_eq!(entry.field("NIGHTSHIFT_HOST"), Some(host.name.as_str()));
        assert_eq!(entry.field("NIGHTSHIFT_CLUSTER"), Some("lab"));
    }
    let explained = host.run(&format!("journalctl --catalog --no-pager {of_night}")).unwrap().text();
    assert!(explained.contains("Defined-By: nightshift") || explained.contains("Support: man:nightshift(1)"));
}

/// One etcd host restored a copy in the drill's unit, and each master has its word.
fn every_master_shows_a_proof(lab: &Lab, etcd: &EtcdCluster<'_>) {
    for master in lab.with(Role::Master) {
        let status = Status::of(master);
        let proofs =
            status.report.pointer("/night/record/proofs").and_then(serde_json::Value::as_array).unwrap();
        let [proof] = &proofs[..] else { panic!("{}: {proofs:?}", master.name) };
        assert_eq!(proof["verdict"], "proved", "{proof}");
        assert!(etcd.members().iter().any(|member| proof["by"] == member.name.as_str()), "{proof}");
        // Once more when all have it: where each set lies.
        master.run_for("nightshift run drill --wait", NIGHT).unwrap();
        let shown = master.run("nightshift status").unwrap().text();
        println!("{shown}");
        assert_eq!(shown.matches("3 masters, 1 remote").count(), 3, "{shown}");
        assert!(shown.contains("PROVED") && shown.contains("proved"), "{shown}");
        let kept = master.run("cat /var/lib/nightshift/vault/*/*/etcd.proofs/*.json").unwrap().text();
        assert!(kept.contains("in its own unit"), "{kept}");
    }
}

/// Every host's set, the same bytes on every master, and the same as on the host that made it.
fn every_master_holds_everything(lab: &Lab, night: &str) {
    let masters = lab.with(Role::Master);
    // The set of the agentless node is made by each master, which signs it: only its files are the same.
    let hashes = |host: &Host| -> Vec<String> {
        let own = |line: &&str| !(line.contains("/agentless1") && line.contains("manifest"));
        vault_hashes(host).lines().filter(own).map(str::to_owned).collect()
    };
    let first = hashes(masters[0]);
    for master in &masters {
        for (role, names) in [
            ("master", vec!["master1", "master2", "master3"]),
            ("etcd", vec!["etcd1", "etcd2", "etcd3"]),
            ("node", vec!["node1", "node2", "node3", "node4", "agentless1"]),
        ] {
            for name in names {
                let manifest = format!("./{name}.lab.test/{night}/{role}/manifest.json");
                master.run(&format!("cd /var/lib/nightshift/vault && test -s {manifest}")).unwrap();
            }
        }
        assert_eq!(hashes(master), first, "{} holds other bytes than master1", master.name);
        let verified = master.run_for("nightshift verify", NIGHT).unwrap().text();
        assert_eq!(verified.lines().filter(|line| line.contains(": good, ")).count(), 11, "{verified}");
    }
    for (host, role, path) in [
        ("master2", "master", "/etc/origin/master/ca.key"),
        ("master3", "master", "/var/spool/cron/root"),
        ("etcd2", "etcd", "/etc/etcd/peer.key"),
        ("node3", "node", "/etc/origin/node/node-config.yaml"),
        ("node4", "node", "/var/spool/cron/root"),
        ("agentless1", "node", "/etc/origin/node/node-config.yaml"),
    ] {
        let source = lab.host(host);
        let copy = format!("/var/lib/nightshift/vault/{}/{night}/{role}{path}", source.name);
        assert_eq!(
            masters[0].read_file(&copy).unwrap(),
            source.read_file(path).unwrap(),
            "{copy} is not what lies on {host}"
        );
    }
}

/// Each member's snapshot is one that etcd itself takes, and holds what was written while nightshift waited.
fn the_snapshots_are_of_the_cluster_under_load(lab: &Lab, etcd: &EtcdCluster<'_>, night: &str) {
    let master = lab.host("master1");
    let now = etcd.revision(etcd.members()[0]).unwrap();
    for member in etcd.members() {
        let set = format!("/var/lib/nightshift/vault/{}/{night}/etcd", member.name);
        let status = master
            .run(&format!(
                "set -e; gzip -dc {set}/snapshot.db.gz > /tmp/snapshot.db; \
                 ETCDCTL_API=3 etcdctl --write-out=json snapshot status /tmp/snapshot.db; rm /tmp/snapshot.db"
            ))
            .unwrap()
            .text();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let revision = status.pointer("/revision").and_then(serde_json::Value::as_i64).unwrap();
        assert!(revision > 100 && revision <= now, "{}: revision {revision} of {now}", member.name);
    }
}

fn the_backup_server_holds_three_archives(lab: &Lab, key: &AgeIdentity, night: &str) {
    let backup = lab.host("backup1");
    let home = "/home/cloud-user";
    let listing = backup.run(&format!("ls {home}")).unwrap().text();
    assert_eq!(
        listing.lines().count(),
        2 * 3 * 3,
        "an archive and a kit, each with its hash and its signature, from each master: {listing}"
    );
    let kit = backup.run(&format!("tar -tf {home}/kit_*_master1.lab.test.tar")).unwrap().text();
    for file in ["/package/usr/bin/nightshift", "/RESTORE.txt", "/allowed_signers"] {
        assert!(kit.lines().any(|line| line.ends_with(file)), "{file} is not in the kit:\n{kit}");
    }
    backup.run(&format!("cd {home} && sha256sum --check *.sha256")).unwrap();
    let scratch = lab.folder().join("archives");
    fs::create_dir_all(&scratch).unwrap();
    for master in lab.with(Role::Master) {
        let name = format!("{}_{}.tgz.age", master.name, night.replace('-', "."));
        for file in [name.clone(), format!("{name}.sig")] {
            fs::write(scratch.join(&file), backup.read_file(&format!("{home}/{file}")).unwrap()).unwrap();
        }
        the_archive_is_whole(&scratch, &name, key, lab);
        the_archive_is_signed(&scratch, &name, master);
        let verified = backup.try_run(&format!("stat -c '%a %U' {home}/{name}")).unwrap().text();
        assert!(verified.ends_with(" cloud-user"), "{verified}");
        assert_eq!(
            master
                .run("ls -A --ignore='.*.shipped' --ignore='.*.last' --ignore='.*.copies' /var/lib/nightshift/outbox")
                .unwrap()
                .text(),
            ""
        );
        assert!(master.run("ls /var/lib/nightshift/sent").unwrap().text().contains(&name));
    }
}

fn the_archive_is_whole(scratch: &Path, name: &str, key: &AgeIdentity, lab: &Lab) {
    let open = format!("age -d -i {} {}", key.path.display(), scratch.join(name).display());
    let shell = |line: String| Cmd::new("sh").args(["-c", &line]).run().unwrap();
    let list = shell(format!("{open} | tar -tvz")).text();
    for host in managed(lab).into_iter().chain(lab.with(Role::Agentless)) {
        assert!(list.contains(&format!("{}/", host.name)), "{name} holds nothing of {}:\n{list}", host.name);
    }
    assert_eq!(list.lines().filter(|line| line.ends_with("/snapshot.db.gz")).count(), 3, "{list}");
    let key_line = list.lines().find(|line| line.contains("master2") && line.ends_with("/ca.key")).unwrap();
    assert!(
        key_line.starts_with("-rw------- root/root") || key_line.starts_with("-rw------- 0/0"),
        "{key_line}"
    );
    let member = key_line.split_whitespace().last().unwrap();
    let ca_key = shell(format!("{open} | tar -xzO {member}"));
    assert_eq!(ca_key.stdout, lab.host("master2").read_file("/etc/origin/master/ca.key").unwrap());
}

fn the_archive_is_signed(scratch: &Path, name: &str, master: &Host) {
    let public = master.read_file("/etc/ssh/ssh_host_ed25519_key.pub").unwrap();
    let signers = format!("{} {}", master.name, String::from_utf8_lossy(&public));
    fs::write(scratch.join("signers"), signers).unwrap();
    let line = format!(
        "cd {} && ssh-keygen -Y verify -f signers -I {} -n nightshift-archive -s {name}.sig < {name}",
        scratch.display(),
        master.name
    );
    Cmd::new("sh").args(["-c", &line]).run().unwrap();
}

fn memory(host: &Host) -> String {
    let pid = shown(host, "MainPID");
    let rss = host.run(&format!("grep -E 'VmRSS|VmHWM|RssAnon' /proc/{pid}/status")).unwrap().text();
    format!("{} of {}", rss.split_whitespace().collect::<Vec<_>>().join(" "), shown(host, "MemoryCurrent"))
}
