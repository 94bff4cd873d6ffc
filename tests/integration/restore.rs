//! The plan of a restore: what it is made from, what it says, and what it refuses before anything is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::etcd::Release;
use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::{Plan, Ran, Site};
use serde_json::Value;

use crate::support::{archive_in, ends_with, good, names, shell};

/// Programs in the place of those of the machine: ssh runs the command here, and systemd's unit of etcd is etcd itself.
const PROGRAMS: &str = r#"
mkdir "$1/bin"; cd "$1/bin"
printf '#!/bin/sh\nexit 0\n' > chown
cat > ssh <<'END'
#!/bin/sh
while :; do case $1 in -n) shift; exec </dev/null;; -p) shift 2;; *) break;; esac; done
exec sh -c "$2"
END
cat > systemctl <<'END'
#!/bin/sh
[ "$1 $2" = "start --no-block" ] || exit 0
etcd --name "$NAME" --data-dir /var/lib/etcd --listen-client-urls "$CLIENT" --advertise-client-urls "$CLIENT" \
    --listen-peer-urls "$PEER" >/dev/null 2>&1 &
echo $! > "$STOP"
ETCDCTL_API=3 timeout 60 sh -c 'until etcdctl --endpoints "$CLIENT" endpoint health >/dev/null 2>&1; do sleep 0.2; done'
END
chmod 755 *
"#;

/// Steps 3 and 4 of the page, in a mount namespace in which they replace nothing of this machine.
const BY_HAND: &str = r#"
unshare -rm sh -ec '
mount -t tmpfs none /var/lib; mount -t tmpfs none /etc/systemd/system
trap "kill \$(cat \"$STOP\")" EXIT
cd "$1"; sed -n "/^# The same by hand/,/^# 5[.]/p" page.txt > steps; sh -e steps
export ETCDCTL_API=3
timeout 20 etcdctl --endpoints "$CLIENT" watch --prefix / --rev="$LATER" 2>&1 || true
etcdctl --endpoints "$CLIENT" get /registry/secrets/ns/a --write-out=json
' sh "$1"
"#;

#[test]
fn the_commands_on_the_page_followed_literally_give_a_writable_etcd_with_a_raised_revision() {
    // The restorer of 3.4 cannot raise the revision.
    let own = Release::default();
    let restorer = if own.folder().is_some() { Ok(own.clone()) } else { Release::named("3.5") };
    if !kit::require(restorer.as_ref().map(drop).map_err(Clone::clone)) {
        return;
    }
    let (mut site, archive) = after_a_night();
    let (ran, parent) = plan(&site, &archive, &["--signer", &fingerprint(&site)]);
    good(ran);
    site.stop_all().unwrap();
    site.etcd[0].stop().unwrap();
    let directory = parent.join(&names(&parent)[0]);
    shell(PROGRAMS, &[&parent]);
    let plan: Value = serde_json::from_slice(&fs::read(directory.join("plan.json")).unwrap()).unwrap();
    let member = |name: &str| plan["etcd"]["members"][0][name].as_str().unwrap().to_owned();
    let revision = plan.pointer("/etcd/snapshot/revision").and_then(Value::as_i64).unwrap();
    let path = [
        parent.join("bin"),
        own.folder().unwrap_or(Path::new("/usr/bin")).to_owned(),
        restorer.unwrap().folder().unwrap().to_owned(),
    ];
    let path = path.map(|directory| directory.display().to_string());
    let done = Command::new("sh")
        .args(["-ec", BY_HAND, "sh"])
        .arg(&directory)
        .env("PATH", format!("{}:{}", path.join(":"), std::env::var("PATH").unwrap()))
        .env("STOP", parent.join("pid"))
        .env("NAME", member("name"))
        .env("CLIENT", member("client_url"))
        .env("PEER", member("peer_urls"))
        .env("LATER", (revision + 1).to_string())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(
        done.status.success(),
        "{out}\n{err}\n{}",
        fs::read_to_string(directory.join("page.txt")).unwrap()
    );
    assert!(out.contains("compacted"), "a client that has seen later writes gets an error: {out}");
    let found: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(found["kvs"][0]["value"], "b25l", "`one`");
    assert!(found["header"]["revision"].as_i64().unwrap() > 1_000_000_000, "{found}");
}

/// A night of a master that is an etcd host too, and a node: its archive at the remote.
fn after_a_night() -> (Site, PathBuf) {
    let mut site =
        Plan::new(&[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])]).build().unwrap();
    // Where a host has it; a test's own is elsewhere.
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
    let stored = fs::read_to_string(directory.join("page.txt")).unwrap();
    assert!(stored.starts_with(page.rsplit_once("the plan is in").unwrap().0.trim()), "{stored}");
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
    a_plan_is_cleaned(&site, &directory);
}

/// Only the directory of a plan is removed, and one that has begun only if it is given up.
fn a_plan_is_cleaned(site: &Site, directory: &Path) {
    let clean = |path: &Path, words: &[&str]| {
        site.run("m1", &[&["restore", "clean", path.to_str().unwrap()], words].concat()).unwrap()
    };
    ends_with(clean(directory.parent().unwrap(), &["--abandon"]), 1);
    let line = r#"{"at":"2026-11-28T00:00:00Z","step":"3.1","host":"m1.site.test","what":"hold"}"#;
    fs::write(directory.join("log"), format!("{line}\n")).unwrap();
    let refused = ends_with(clean(directory, &[]), 1);
    assert!(
        refused.stderr.contains("is not finished") && refused.stderr.contains("--abandon"),
        "{refused:?}"
    );
    let held = fs::File::open(directory).unwrap();
    held.lock().unwrap();
    assert!(ends_with(clean(directory, &["--abandon"]), 1).stderr.contains("another command works on"));
    drop(held);
    good(clean(directory, &["--abandon"]));
    assert_eq!(names(directory.parent().unwrap()), [""; 0]);
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

#[test]
fn the_archive_of_the_known_signer_is_taken_from_a_remote_by_the_operators_own_sftp() {
    let (site, _) = after_a_night();
    let (master, backup) = (site.host("m1"), site.host("backup"));
    let at = tempfile::tempdir().unwrap();
    let config = at.path().join("ssh_config");
    let identity = master.remote_identity();
    let text =
        format!("IdentityFile {}\nUserKnownHostsFile {}\n", identity.display(), site.known_hosts().display());
    fs::write(&config, text).unwrap();
    let url = format!("sftp://{}@127.0.0.1:{}{}", site.user(), backup.port(), site.inbox().display());
    let (config, from) = (config.display().to_string(), Path::new(&url));
    let signer = fingerprint(&site);
    let (ran, parent) = plan(&site, from, &["--ssh-config", &config, "--signer", &signer]);
    let page = good(ran).stdout;
    assert!(page.contains(&format!("of {url}, signed by {signer}")), "{page}");
    let directory = parent.join(&names(&parent)[0]);
    assert!(!names(&directory).contains(&"archive".to_owned()), "the copy is removed once it is unpacked");

    let refused = |words: &[&str], code, reason: &str| {
        let (ran, parent) = plan(&site, from, &[&["--ssh-config", &config], words].concat());
        let ran = ends_with(ran, code);
        assert!(ran.stderr.contains(reason), "{reason}: {}", ran.stderr);
        assert!(names(&parent).is_empty());
    };
    refused(&[], 2, "with --signer, name the fingerprint of the master");
    refused(&["--signer", "SHA256:other"], 1, "by SHA256:other: it has m1.site.test_");
    refused(&["--signer", &signer, "--night", "2020-01-01"], 1, "has no archive of 2020-01-01");
    shell("mv \"$1\" \"$1.away\"", &[&site.inbox()]);
    refused(&["--signer", &signer], 1, "cannot list");
}
