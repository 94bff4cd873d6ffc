//! The kit: what a restore needs beside the archives, on every remote.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kit::lab::Role::{BackupServer, Etcd, Master};
use kit::site::{Plan, Site};

use crate::support::{archive_in, good, names, shell, verdict};

/// An etcdutl that prints a version.
fn etcdutl(directory: &Path, version: &str) {
    fs::create_dir_all(directory).unwrap();
    let program = directory.join("etcdutl");
    fs::write(&program, format!("#!/bin/sh\necho etcdutl version: {version}\n")).unwrap();
    for path in [directory, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn kits(site: &Site) -> Vec<String> {
    names(&site.inbox())
        .into_iter()
        .filter(|name| name.starts_with("kit_") && name.ends_with(".tar"))
        .collect()
}

fn ship(site: &Site) {
    good(site.run("m1", &["run", "ship-archive", "--wait"]).unwrap());
}

#[test]
fn a_signed_kit_is_on_the_remote_once_and_again_when_its_content_changes() {
    let mut site = Plan::new(&[("m1", &[Master, Etcd]), ("backup", &[BackupServer])]).build().unwrap();
    let tools = site.host("m1").state().with_file_name("restore-tools");
    etcdutl(&tools, "3.5.16");
    site.drop_in("m1", "50-tools.toml", &format!("[etcd]\nrestore-tools = {tools:?}\n")).unwrap();
    let config = fs::read_to_string(site.host("m1").config()).unwrap();
    let config = config.replace("name = \"backup-server\"", "name = \"backup-server\"\nprune = true");
    fs::write(site.host("m1").config(), config).unwrap();
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (0, "complete"), "{:#}", status["night"]["reasons"]);
    archive_in(&site.inbox());
    let first = format!("kit_{}_m1.site.test.tar", env!("CARGO_PKG_VERSION"));
    assert_eq!(kits(&site), std::slice::from_ref(&first));
    let kit = site.inbox().join(&first);
    let unpacked = tempfile::tempdir().unwrap();
    shell(
        "cd \"$1\" && sha256sum -c \"$2.sha256\" && tar -C \"$3\" --strip-components=1 -xf \"$2\"",
        &[&site.inbox(), &kit, unpacked.path()],
    );
    let verified = shell(
        "ssh-keygen -Y verify -f \"$2/allowed_signers\" -I m1.site.test -n nightshift-archive -s \"$1.sig\" < \"$1\"",
        &[&kit, unpacked.path()],
    );
    assert!(verified.contains("Good"), "{verified}");
    let text = fs::read_to_string(unpacked.path().join("RESTORE.txt")).unwrap();
    let peer = &site.etcd[0].peer_url;
    assert!(text.contains(&format!("--name m1.site.test --initial-advertise-peer-urls {peer} ")), "{text}");
    assert_eq!(
        fs::read(unpacked.path().join("restore-tools/etcdutl")).unwrap(),
        fs::read(tools.join("etcdutl")).unwrap()
    );
    let checked = good(site.run("m1", &["check"]).unwrap());
    assert!(checked.stdout.contains("restore-tools: etcdutl 3.5.16: OK"), "{checked:?}");

    ship(&site);
    assert_eq!(kits(&site), std::slice::from_ref(&first), "the same content is not shipped again");
    etcdutl(&tools, "3.5.17");
    ship(&site);
    let second = first.replace(".tar", ".2.tar");
    assert_eq!(kits(&site), [second.clone(), first]);
    // Of the older ones, one stays.
    etcdutl(&tools, "3.5.18");
    ship(&site);
    assert_eq!(kits(&site), [second.clone(), second.replace(".2.", ".3.")]);

    // What it lacks is reported, and changes no night's result.
    fs::remove_file(tools.join("etcdutl")).unwrap();
    ship(&site);
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (0, "complete"), "{:#}", status["night"]["reasons"]);
    let notes = status["notes"].to_string();
    assert!(notes.contains("etcdutl does not exist"), "{notes}");
    let shown = good(site.run("m1", &["status"]).unwrap()).stdout;
    assert!(shown.contains("note: "), "{shown}");
}
