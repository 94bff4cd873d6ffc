//! A whole night of three masters, with everything checked by other people's tools.

use std::fs;
use std::path::Path;

use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::{Plan, Site};
use tempfile::tempdir;

use crate::support::{archive_in, ends_with, good, has, hashes, names, outcome, sets, shell, verdict};

const MASTERS: [&str; 3] = ["m1", "m2", "m3"];

fn three_masters() -> Plan {
    Plan::new(&[
        ("m1", &[Master, Etcd]),
        ("m2", &[Master]),
        ("m3", &[Master]),
        ("n1", &[Node]),
        ("n2", &[Node]),
        ("backup", &[BackupServer]),
    ])
}

#[test]
fn three_masters_and_the_backup_server_end_with_the_same_verified_copy_of_everything() {
    let mut site = three_masters().build().unwrap();
    site.etcd[0].put("/registry/pods/a", "one").unwrap();
    site.night().unwrap();

    let first = sets(&site, "m1");
    assert_eq!(first.len(), 6, "three master sets, one of etcd and two of nodes: {first:?}");
    for master in MASTERS {
        let (code, status) = site.status(master).unwrap();
        assert_eq!((code, verdict(&status)), (0, "complete"), "{:#}", status["night"]["reasons"]);
        assert_eq!(outcome(&status, "ship-archive"), "done");
        assert_eq!(sets(&site, master), first, "{master} holds the very same sets");
        good(site.run(master, &["verify"]).unwrap());
    }
    let content = |master: &str| {
        let mut files = hashes(&site.host(master).vault());
        files.retain(|name, _| !name.ends_with("now.json") && name != ".vault");
        files
    };
    assert_eq!(content("m1"), content("m2"));
    assert_eq!(content("m1"), content("m3"));

    let inbox = site.inbox();
    let archives: Vec<String> = names(&inbox).into_iter().filter(|name| name.ends_with(".tgz")).collect();
    assert_eq!(archives.len(), 3, "{:?}", names(&inbox));
    // And a kit of each master.
    assert_eq!(names(&inbox).len(), 18, "each with its checksum and signature, and nothing else");
    for (archive, master) in archives.iter().zip(MASTERS) {
        others_accept(&site, &inbox.join(archive), master);
        opens_with_tar(&inbox.join(archive), &site.host(master).vault());
    }
}

/// `sha256sum` and `ssh-keygen` say of an archive what we say.
fn others_accept(site: &Site, archive: &Path, master: &str) {
    shell("cd \"$(dirname \"$1\")\" && sha256sum --check --strict \"$1.sha256\"", &[archive]);
    let host = site.host(master);
    let allowed = tempdir().unwrap();
    let signers = allowed.path().join("signers");
    fs::write(&signers, format!("{} {}\n", host.name, host.sshd.public_key().unwrap())).unwrap();
    let line = "ssh-keygen -Y verify -f \"$2\" -I \"$3\" -n nightshift-archive -s \"$1.sig\" <\"$1\"";
    shell(line, &[archive, &signers, Path::new(&host.name)]);
}

/// Every file of the vault is in the archive, byte for byte; what was proved afterwards cannot be.
fn opens_with_tar(archive: &Path, vault: &Path) {
    let opened = tempdir().unwrap();
    shell("tar -xzf \"$1\" -C \"$2\"", &[archive, opened.path()]);
    let packed: Vec<String> = hashes(opened.path()).into_values().collect();
    for (name, sha256) in hashes(vault) {
        let later = name == ".vault" || name.ends_with("now.json") || name.contains(".proofs/");
        assert!(later || packed.contains(&sha256), "{name} is not in {archive:?}");
    }
}

#[test]
fn an_encrypted_archive_opens_with_age_and_tar_and_with_verify() {
    if !kit::require(has("age")) {
        return;
    }
    let keys = tempdir().unwrap();
    let identity = keys.path().join("identity");
    shell("age-keygen -o \"$1\" 2>/dev/null", &[&identity]);
    let recipient = shell("age-keygen -y \"$1\"", &[&identity]);
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("backup", &[BackupServer])])
        .recipients(&[&recipient])
        .build()
        .unwrap();
    site.night().unwrap();

    let archive = archive_in(&site.inbox());
    assert!(archive.to_str().unwrap().ends_with(".tgz.age"));
    let listing = shell("age -d -i \"$1\" \"$2\" | tar -tz", &[&identity, &archive]);
    assert!(listing.contains("root_cron") && listing.contains("manifest.json"), "{listing}");

    let (archive, identity) = (archive.to_str().unwrap(), identity.to_str().unwrap());
    let verified = good(site.run("m1", &["verify", "--identity", identity, archive]).unwrap());
    assert!(verified.stdout.contains(": verified, 2 sets"), "{verified:?}");
    let inside = good(site.run("m1", &["inspect", "--identity", identity, archive]).unwrap()).stdout;
    assert!(inside.contains("2 sets") && inside.contains("root_cron"), "{inside}");
    let renamed = keys.path().join(Path::new(archive.trim_end_matches(".age")).file_name().unwrap());
    std::fs::copy(archive, &renamed).unwrap();
    let renamed = renamed.to_str().unwrap();
    let verified = ends_with(site.run("m1", &["verify", "--identity", identity, renamed]).unwrap(), 3);
    assert!(
        verified.stdout.contains(": verified, 2 sets") && verified.stdout.contains("unsigned"),
        "{verified:?}"
    );
    let other = keys.path().join("other");
    shell("age-keygen -o \"$1\" 2>/dev/null", &[&other]);
    let other = other.to_str().unwrap();
    let sealed = ends_with(site.run("m1", &["verify", "--identity", other, archive]).unwrap(), 1);
    assert!(sealed.stderr.contains("cannot decrypt"), "{sealed:?}");
}
