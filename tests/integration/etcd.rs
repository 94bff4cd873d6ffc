//! Nights without etcd, with one member's snapshot for all, and with a damaged snapshot that its origin host graded good.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::Plan;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{archive_in, good, night_of, outcome, reason, set_folder, set_report, shell, verdict};

#[test]
fn without_etcd_its_stage_fails_with_the_reason_and_all_else_goes_on() {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd]), ("n1", &[Node])]).build().unwrap();
    site.drop_in("e1", "50-retries.toml", "[stage.snapshot-etcd]\nretries = 0\n").unwrap();
    site.etcd[0].kill();
    for host in ["e1", "n1"] {
        site.start(host).unwrap();
        site.settle(host).unwrap();
    }
    let (code, status) = site.status("e1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "failed"));
    assert_eq!(outcome(&status, "snapshot-etcd"), "failed");
    let endpoint = &site.etcd[0].url;
    assert!(reason(&status, "snapshot-etcd").contains(endpoint), "{}", reason(&status, "snapshot-etcd"));

    // The master hears from the host itself why there is nothing to wait for.
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(site.status("m1").unwrap().0, 3);
    assert_eq!(verdict(&status), "failed");
    assert_eq!(outcome(&status, "pull-etcd"), "degraded");
    assert!(reason(&status, "pull-etcd").contains("it reports: failed"), "{}", reason(&status, "pull-etcd"));
    for stage in ["pull-nodes", "collect-master", "mirror-masters", "ship-archive"] {
        assert_eq!(outcome(&status, stage), "done", "{stage}");
    }
    let reasons = status["night"]["reasons"].to_string();
    assert!(reasons.contains("no good etcd snapshot of the cluster"), "{reasons}");
}

#[test]
fn where_one_snapshot_will_do_the_masters_miss_nobody_and_the_night_is_complete() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master]), ("e1", &[Etcd]), ("e2", &[Etcd]), ("e3", &[Etcd])];
    let mut site = Plan::new(plan).build().unwrap();
    for host in ["m1", "e1", "e2", "e3"] {
        site.drop_in(host, "50-one.toml", "[etcd]\nmembers = \"one\"\nslot = \"1s\"\n").unwrap();
    }
    site.night().unwrap();
    let mut made = 0;
    for host in ["e1", "e2", "e3"] {
        let (code, status) = site.status(host).unwrap();
        assert_eq!((code, verdict(&status)), (0, "complete"), "{host}: {:#}", status["night"]["reasons"]);
        made += usize::from(!status["night"]["record"]["sets"].as_array().unwrap().is_empty());
    }
    assert_eq!(made, 1);
    let (_, status) = site.status("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    assert_eq!(outcome(&status, "pull-etcd"), "done", "{}", reason(&status, "pull-etcd"));
    let shown = good(site.run("m1", &["nights", &night_of(&site, "m1")]).unwrap()).stdout;
    assert_eq!(shown.matches("not needed").count(), 2, "{shown}");
}

#[test]
fn snapshots_of_one_member_from_two_hosts_degrade_the_night_and_name_both() {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd]), ("e2", &[Etcd])]).build().unwrap();
    // As with a balancer that happened to choose the same member for both.
    let endpoint =
        format!("[etcd]\nendpoint = \"{}\"\nconf = \"/absent\"\nslot = \"1s\"\n", site.etcd[0].url);
    site.drop_in("e2", "50-balancer.toml", &endpoint).unwrap();
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    let why = reason(&status, "pack-archive");
    assert_eq!((code, verdict(&status)), (3, "degraded"), "{:#}", status["night"]["reasons"]);
    assert!(why.contains("e1.site.test and e2.site.test have snapshots of one member"), "{why}");
}

/// Cuts off the stored snapshot's end, and lets the manifest call that what was taken.
fn shorten_snapshot(set: &Path) {
    let (path, plain) = (set.join("snapshot.db.gz"), set.join("plain"));
    let unpacked = Command::new("gzip").args(["-dc"]).arg(&path).output().unwrap().stdout;
    fs::write(&plain, &unpacked[..unpacked.len() - 4096]).unwrap();
    let packed =
        Command::new("gzip").args(["-c"]).arg(&plain).stderr(Stdio::inherit()).output().unwrap().stdout;
    fs::remove_file(&plain).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, &packed).unwrap();
    let manifest = set.join("manifest.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let items = value["items"].as_array_mut().unwrap();
    let item = items.iter_mut().find(|item| item["path"] == "snapshot.db.gz").unwrap();
    let hex: String = Sha256::digest(&packed).iter().map(|byte| format!("{byte:02x}")).collect();
    (item["size"], item["sha256"]) = (json!(packed.len()), json!(hex));
    fs::write(&manifest, serde_json::to_vec(&value).unwrap()).unwrap();
    fs::remove_file(set.join("manifest.json.sig")).unwrap();
}

#[test]
fn a_damaged_snapshot_is_refused_whatever_its_origin_host_graded_it() {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd])]).build().unwrap();
    site.start("e1").unwrap();
    site.settle("e1").unwrap();
    shorten_snapshot(&set_folder(&site, "e1", "e1", "etcd"));
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    let report = set_report(&status, "e1.site.test", "etcd");
    assert_eq!(report["fate"], "refused", "{report:#}");
    assert!(
        report["reason"]
            .as_str()
            .unwrap()
            .contains("failed verification, although its origin host graded it good"),
        "{report:#}"
    );
    assert_eq!(verdict(&status), "failed");
    assert!(!set_folder(&site, "m1", "e1", "etcd").exists());
}

#[test]
fn a_check_fails_where_the_snapshot_would_be_refused() {
    let site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd])]).build().unwrap();
    let checked = good(site.run("e1", &["check", "--connect"]).unwrap()).stdout;
    assert!(checked.contains("member e1.site.test of etcd"), "{checked}");
    assert!(checked.contains("no keys; is this the member of this cluster?"), "{checked}");
    site.etcd[0].secure().unwrap();
    let ran = site.run("e1", &["check", "--connect"]).unwrap();
    // etcd 3.6 already refuses the status that comes before the snapshot.
    let refused =
        ["refused Snapshot: ", "refused Status: "].map(|call| call.to_owned() + "authentication is enabled");
    assert!(ran.code == 1 && refused.iter().any(|text| ran.stderr.contains(text)), "{ran:?}");
}

#[test]
fn a_manifest_says_what_runs_on_its_host_and_an_archive_which_host_keys_are_pinned() {
    let plan: &[(&str, &[_])] =
        &[("m1", &[Master]), ("e1", &[Etcd]), ("e2", &[Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(plan).build().unwrap();
    let data = site.etcd[0].data();
    site.drop_in("e1", "50-slot.toml", "[etcd]\nslot = \"1s\"\n").unwrap();
    site.drop_in("e2", "50-conf.toml", "[etcd]\nconf = \"/absent\"\n").unwrap();
    site.night().unwrap();

    let of = |host: &str, role: &str| -> Value {
        let manifest = set_folder(&site, "m1", host, role).join("manifest.json");
        serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap()
    };
    let id = shell(". /etc/os-release; printf '%s' \"$ID${VERSION_ID:+ $VERSION_ID}\"", &[]);
    let architecture = shell("uname -m", &[]);
    for (host, role) in [("m1", "master"), ("e1", "etcd"), ("n1", "node")] {
        let system = &of(host, role)["system"];
        assert_eq!(
            (&system["os"], &system["architecture"]),
            (&json!(id), &json!(architecture.trim())),
            "{host}"
        );
    }
    let etcd = of("e1", "etcd")["etcd"].clone();
    let found = &etcd["service"]["data"];
    let real = fs::metadata(&data).unwrap();
    assert_eq!(found["path"], json!(data), "{etcd:#}");
    assert_eq!(found["mode"], format!("{:04o}", real.permissions().mode() & 0o7777));
    assert_eq!(found["owner"]["uid"], real.uid());
    let mut members: Vec<(&str, &str)> = etcd["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["name"].as_str().unwrap(), member["peer_urls"][0].as_str().unwrap()))
        .collect();
    members.sort_unstable();
    let expected: Vec<_> = site.etcd.iter().map(|member| (&*member.name, &*member.peer_url)).collect();
    assert_eq!(members, expected);
    let shown =
        good(site.run("m1", &["inspect", &format!("e1.site.test/{}/etcd", night_of(&site, "m1"))]).unwrap());
    for text in [&id, &*format!("data in {}", data.display()), &site.etcd[1].peer_url] {
        assert!(shown.stdout.contains(text), "{text}: {}", shown.stdout);
    }
    // An endpoint alone says nothing about the member's data.
    let notes = of("e2", "etcd")["notes"].to_string();
    assert!(notes.contains("data directory is unknown"), "{notes}");

    let archive = archive_in(&site.host("m1").state().join("sent"));
    let contents = shell("tar -xzOf \"$1\" --wildcards '*/archive.json'", &[&archive]);
    let contents: Value = serde_json::from_str(&contents).unwrap();
    let line = |name: &str| -> String {
        let host = site.host(name);
        let keys = contents["host_keys"].as_array().unwrap();
        let key = keys
            .iter()
            .find(|key| key["port"] == host.sshd.port)
            .unwrap_or_else(|| panic!("{name}: {keys:#?}"));
        assert!(name == "backup" || key["names"][0] == host.name.as_str(), "{key:#}");
        format!("{} {}", key["type"].as_str().unwrap(), key["key"].as_str().unwrap())
    };
    for name in ["m1", "e1", "e2", "n1", "backup"] {
        let real = site.host(name).sshd.public_key().unwrap();
        assert!(real.starts_with(&line(name)), "{name}: {real}");
    }
}
