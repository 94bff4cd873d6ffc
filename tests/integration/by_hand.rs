//! RESTORE.txt: a script follows it literally, and gets etcd back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::by_hand::commands;
use kit::etcd::Release;
use kit::lab::Role::{BackupServer, Etcd, Master};
use kit::lab::cmd::{Cmd, poll};
use kit::site::{Plan, Site};

use crate::support::{SOON, archive_in, good, shell};

const MEMBERS: [&str; 2] = ["e1", "e2"];

/// As the ssh of the operator: it runs the command here. The host is known to the programs below.
const SSH: &str = r#"#!/bin/sh
HOST=${1#root@}; export HOST; shift
exec sh -c "$*"
"#;
/// As systemd on that host, which has etcd's unit alone.
const SYSTEMCTL: &str = r#"#!/bin/sh
for unit; do :; done
test "$unit" = etcd.service && test -e "$STAND_IN/$HOST.pid" || exit 5
case $1 in
stop) kill "$(cat "$STAND_IN/$HOST.pid")" ;;
start) setsid sh "$STAND_IN/$HOST.start" >/dev/null 2>&1 & echo $! > "$STAND_IN/$HOST.pid" ;;
esac
"#;

/// Two members with configurations of their own, and a master with an encrypted archive on the remote.
fn after_a_night(identity: &Path) -> (Site, PathBuf) {
    shell("age-keygen -o \"$1\" 2>/dev/null", &[identity]);
    let recipient = shell("age-keygen -y \"$1\"", &[identity]);
    let hosts = [("m1", &[Master][..]), ("e1", &[Etcd]), ("e2", &[Etcd]), ("backup", &[BackupServer])];
    let mut site = Plan::new(&hosts).recipients(&[&recipient]).build().unwrap();
    for number in 0..30 {
        site.etcd[0].put(&format!("/registry/pods/ns/{number}"), format!("pod {number}")).unwrap();
    }
    site.night().unwrap();
    let archive = archive_in(&site.inbox());
    (site, archive)
}

/// The members that the script starts. They are not children of the test.
struct Started(PathBuf);

impl Drop for Started {
    fn drop(&mut self) {
        for host in MEMBERS {
            let pid = fs::read_to_string(self.0.join(format!("{host}.site.test.pid"))).unwrap_or_default();
            let _ = Command::new("kill").args(["-KILL", pid.trim()]).output();
        }
    }
}

fn stand_ins(site: &Site, directory: &Path) -> Started {
    for (name, script) in [("ssh", SSH), ("systemctl", SYSTEMCTL)] {
        let path = directory.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for member in &site.etcd {
        let words: Vec<String> = member.command_line().iter().map(|word| format!("'{word}'")).collect();
        let start = format!("exec {}\n", words.join(" "));
        fs::write(directory.join(format!("{}.start", member.name)), start).unwrap();
        let pid = member.id().unwrap().to_string();
        fs::write(directory.join(format!("{}.pid", member.name)), pid).unwrap();
    }
    Started(directory.to_owned())
}

#[test]
fn the_commands_of_restore_txt_give_a_writable_etcd_with_the_keys_of_the_snapshot() {
    // The restorer of 3.4 cannot raise the revision; that of 3.5 does it for members of 3.4 too.
    let restorer = Release::named("3.5");
    if !kit::require(restorer.as_ref().map(drop).map_err(Clone::clone)) {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let key = work.path().join("key.txt");
    let (site, archive) = after_a_night(&key);
    let lines = shell(
        "cd \"$2\" && age -d -i \"$1\" \"$3\" | tar -xzO --wildcards '*/RESTORE.txt'",
        &[&key, work.path(), &archive],
    );
    println!("{lines}");
    let blocks = commands(&lines);
    let names: Vec<&str> = blocks.iter().map(|(name, _)| name.as_str()).collect();
    let expected =
        ["unpack", "snapshot", "stop", "data", "put", "start-etcd", "write", "program", "files", "start"];
    assert_eq!(names, expected);

    // That the key opens the archive is known only once it was tried.
    let [archive_at, key_at] = [&archive, &key].map(|path| path.to_str().unwrap().to_owned());
    let never = site.run("m1", &["check"]).unwrap();
    assert!(never.stderr.contains("no archive was ever opened with its real key"), "{never:?}");
    good(site.run("m1", &["verify", &archive_at, "--identity", &key_at]).unwrap());
    let opened = site.run("m1", &["check"]).unwrap();
    assert!(opened.stdout.contains("was opened with its real key (age1"), "{opened:?}");

    // What is written after the night is lost.
    site.etcd[0].put("/registry/pods/ns/0", "written after the night").unwrap();
    let stand_in = tempfile::tempdir().unwrap();
    let _started = stand_ins(&site, stand_in.path());
    shell("cp \"$1\" \"$1.sig\" \"$1.sha256\" \"$2\"", &[&archive, work.path()]);
    shell(
        "cd \"$2\" && age -d -i \"$1\" \"$3\" | tar -xzO --wildcards '*/allowed_signers' > allowed_signers",
        &[&key, work.path(), &archive],
    );
    // The files of nodes and masters would be moved on this machine.
    let script: String =
        blocks.iter().take_while(|(name, _)| name != "program").map(|(_, block)| block.as_str()).collect();
    let folders =
        [Release::default().folder().map(Path::to_owned), restorer.unwrap().folder().map(Path::to_owned)];
    let mut path = vec![stand_in.path().display().to_string()];
    // A later etcdutl comes first; etcdctl is that of the members.
    path.extend(folders[0].iter().map(|folder| folder.display().to_string()));
    let utl = stand_in.path().join("etcdutl");
    if !folders[0].as_ref().is_some_and(|folder| folder.join("etcdutl").exists()) {
        std::os::unix::fs::symlink(folders[1].as_ref().unwrap().join("etcdutl"), utl).unwrap();
    }
    path.push(std::env::var("PATH").unwrap());
    let ran = Cmd::new("sh")
        .args(["-e", "-x", "-c", &script])
        .current_dir(work.path())
        .env("PATH", path.join(":"))
        .env("STAND_IN", stand_in.path())
        .output()
        .unwrap();
    assert!(ran.status == 0, "{}\n{}", ran.text(), ran.stderr);
    assert!(ran.text().contains("Good \"nightshift-archive\" signature for m1.site.test"), "{}", ran.text());

    for member in &site.etcd {
        poll("the member to serve the keys", SOON, || {
            member.etcdctl(&["get", "/registry/pods/ns/29"]).map_err(|error| error.to_string())
        })
        .unwrap();
        let all = member.etcdctl(&["get", "/registry/", "--prefix"]).unwrap().text();
        for number in 0..30 {
            assert!(all.contains(&format!("/registry/pods/ns/{number}\npod {number}")), "{all}");
        }
        let json = member.etcdctl(&["get", "/registry/pods/ns/0", "-w", "json"]).unwrap().text();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["header"]["revision"].as_i64().unwrap() > 1_000_000_000, "{json}");
        // A client that continues to watch where it was gets an error, and starts over.
        let watch = member.etcdctl(&["get", "/registry/pods/ns/0", "--rev", "5"]);
        assert!(watch.unwrap_err().to_string().contains("compacted"));
    }
    site.etcd[1].put("/registry/pods/ns/new", "after the restore").unwrap();
    let read = site.etcd[0].etcdctl(&["get", "/registry/pods/ns/new"]).unwrap().text();
    assert!(read.contains("after the restore"));
    let aside = fs::read_dir(site.etcd[0].data()).unwrap();
    let aside = aside
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("before-restore"));
    assert_eq!(aside.count(), 1, "the data that was there is kept");
}
