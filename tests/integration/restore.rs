//! The plan of a restore: what it is made from, what it says, and what it refuses before anything is changed.

use std::fs;
use std::path::{Path, PathBuf};

use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::{Plan, Ran, Site};
use serde_json::Value;

use crate::support::{archive_in, ends_with, good, names, shell};

/// A night of a master that is an etcd host too, and a node: its archive at the remote.
fn after_a_night() -> (Site, PathBuf) {
    let mut site =
        Plan::new(&[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])]).build().unwrap();
    // As Ansible lays it; a test's own is elsewhere.
    let conf = site.source("m1", "/etc/etcd/etcd.conf");
    site.drop_in("m1", "50-conf.toml", &format!("[etcd]\nconf = \"{}\"\n", conf.display())).unwrap();
    let text = format!("ETCD_NAME={}\nETCD_DATA_DIR=/var/lib/etcd/\n", site.etcd[0].name);
    site.lay("m1", "/etc/etcd/etcd.conf", text.as_bytes()).unwrap();
    site.etcd[0].put("/registry/secrets/ns/a", "one").unwrap();
    site.night().unwrap();
    let archive = archive_in(&site.inbox());
    (site, archive)
}

fn plan(site: &Site, from: &Path, words: &[&str]) -> (Ran, PathBuf) {
    let parent = tempfile::tempdir().unwrap().keep();
    let (from, at) = (from.display().to_string(), parent.display().to_string());
    let all = [&["restore", "plan", "--from", &from, "--in", &at], words].concat();
    (site.run("m1", &all).unwrap(), parent)
}

fn fingerprint(site: &Site) -> String {
    let key = site.host("m1").sshd.host_key().with_extension("pub");
    let line = shell("ssh-keygen -lf \"$1\"", &[&key]);
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_plan_names_what_is_restored_what_is_lost_and_the_acts_in_their_order() {
    let (site, archive) = after_a_night();
    assert!(site.run("m1", &["status"]).unwrap().stdout.contains("\nrestorable: yes\n"));
    let (ran, parent) = plan(&site, &archive, &["--signer", &fingerprint(&site)]);
    let page = good(ran).stdout;
    println!("{page}");
    for part in [
        "restore of cluster",
        "signed by SHA256:",
        "master: m1.site.test",
        "lost:    everything that was written to etcd after revision",
        "3  stop what runs",
        "hold nightshift",
        "4  restore etcd: one snapshot on all members",
        "7  start the control plane",
    ] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    let directory = parent.join(&names(&parent)[0]);
    let mode = shell("stat -c %a \"$1\"", &[&directory]);
    assert_eq!(mode, "700", "it contains every secret of the cluster");
    assert_eq!(
        fs::read_to_string(directory.join("page.txt")).unwrap().trim(),
        page.rsplit_once("the plan is in").unwrap().0.trim()
    );
    let plan: Value = serde_json::from_slice(&fs::read(directory.join("plan.json")).unwrap()).unwrap();
    let machines = plan["machines"].as_array().unwrap();
    let cron = machines[0]["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["path"].as_str().unwrap().ends_with("/var/spool/cron/root"));
    assert_eq!(cron.unwrap()["kind"], "file", "an item with another name in its set goes to its real place");
    let snapshot = plan.pointer("/etcd/snapshot").unwrap();
    assert!(snapshot["revision"].as_i64().unwrap() > 1, "{snapshot}");
    // Without a login, the machines are not ready, and nothing can be applied.
    let at = directory.display().to_string();
    let refused = ends_with(site.run("m1", &["restore", "apply", &at]).unwrap(), 1);
    assert!(refused.stderr.contains("restore check"), "{refused:?}");
}

#[test]
fn an_archive_is_used_only_with_the_signature_that_the_operator_knows() {
    let (site, archive) = after_a_night();
    let known = fingerprint(&site);
    let refuses = |ran: Ran, parent: PathBuf, code: i32, reason: &str| {
        let ran = ends_with(ran, code);
        assert!(ran.stderr.contains(reason), "{reason}: {ran:?}");
        assert_eq!(names(&parent), [""; 0], "nothing decrypted is left");
    };
    let (ran, parent) = plan(&site, &archive, &[]);
    refuses(ran, parent, 2, &format!("is signed by {known}; with --signer, name"));
    let (ran, parent) = plan(&site, &archive, &["--signer", "SHA256:AAAA"]);
    refuses(ran, parent, 1, "not by SHA256:AAAA");

    let signature = archive.with_file_name(format!("{}.sig", archive.file_name().unwrap().to_string_lossy()));
    let aside = signature.with_extension("aside");
    fs::rename(&signature, &aside).unwrap();
    let (ran, parent) = plan(&site, &archive, &["--signer", &known]);
    refuses(ran, parent, 1, "its signature, does not exist");
    let (ran, _) = plan(&site, &archive, &["--unsigned"]);
    assert!(good(ran).stdout.contains("NOT SIGNED (--unsigned)"));
    fs::rename(&aside, &signature).unwrap();

    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let (ran, parent) = plan(&site, &archive, &["--signer", &known]);
    refuses(ran, parent, 1, "the content or the signature was changed");
    let (ran, parent) = plan(&site, &archive, &["--unsigned"]);
    refuses(ran, parent, 1, "is not a valid archive");
}

#[test]
fn a_surviving_vault_gives_the_same_plan_and_a_damaged_file_in_it_is_refused() {
    let (site, _) = after_a_night();
    let vault = site.host("m1").vault();
    let (ran, parent) = plan(&site, &vault, &[]);
    let page = good(ran).stdout;
    assert!(page.contains("each set checked with the host keys"), "{page}");
    let plan_json = fs::read(parent.join(&names(&parent)[0]).join("plan.json")).unwrap();
    let found: Value = serde_json::from_slice(&plan_json).unwrap();
    let night = found["id"].as_str().unwrap()[..10].to_owned();
    let file = vault.join("m1.site.test").join(night).join("etcd/snapshot.db.gz");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    shell("chmod u+w \"$1\"", &[&file]);
    fs::write(&file, bytes).unwrap();
    let (ran, parent) = plan(&site, &vault, &[]);
    let refused = ends_with(ran, 1);
    assert!(refused.stderr.contains("snapshot.db.gz differs from its manifest"), "{refused:?}");
    assert_eq!(names(&parent), [""; 0]);
}
