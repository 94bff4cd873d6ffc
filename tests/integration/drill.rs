//! Stored copies restored into a scratch etcd: proved, or told why not, and nothing left behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use kit::lab::Role::{Etcd, Master, Node};
use kit::lab::cmd::{Cmd, poll};
use kit::site::{Plan, Site};
use serde_json::Value;

use crate::support::{SOON, ends_with, good, names, outcome, reason, set_folder, verdict};

const E1: &str = "e1.site.test";

fn alone() -> Site {
    let site = Plan::new(&[("e1", &[Etcd])]).build().unwrap();
    let etcd = &site.etcd[0];
    for number in 0..30 {
        etcd.put(&format!("/registry/pods/ns/{number}"), "a pod").unwrap();
    }
    etcd.put("/registry/secrets/ns/one", "a secret").unwrap();
    site
}

/// The proofs that a host keeps of an etcd set of tonight.
fn proofs(site: &Site, keeper: &str) -> Vec<Value> {
    let folder = set_folder(site, keeper, "e1", "etcd.proofs");
    let files = names(&folder).into_iter().filter(|name| name.ends_with(".json"));
    let files: Vec<_> = files.map(|name| folder.join(name)).collect();
    for file in &files {
        let signature = fs::read_to_string(format!("{}.sig", file.display())).unwrap();
        assert!(signature.starts_with("-----BEGIN SSH SIGNATURE-----"), "{signature}");
    }
    let files = files.iter().map(|file| fs::read(file).unwrap());
    files.map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
}

fn scratch(site: &Site, host: &str) -> PathBuf {
    site.host(host).state().join("scratch")
}

/// The processes whose command line names this folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(folder) {
            found.push(format!("{} {line}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

fn wait_for_nothing_left(site: &Site, host: &str) {
    let scratch = scratch(site, host);
    poll("nothing of the drill to be left", SOON, || {
        let left = (processes_in(&scratch), names(&scratch));
        if left.0.is_empty() && left.1.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .unwrap();
}

/// A drill that is in the middle of its copying, by a rate at which that takes a while.
fn slowly(site: &Site, host: &str) {
    // What compresses to little is copied at the rate of what it unpacks to.
    let etcd = &site.etcd[0];
    for number in 0..12 {
        etcd.put(&format!("/registry/big/{number}"), "x".repeat(1_000_000)).unwrap();
    }
    site.drop_in(host, "50-slow.toml", "[drill]\nrate = \"1MB\"\n").unwrap();
}

fn names_of(hosts: &[&str]) -> Value {
    hosts.iter().map(|host| Value::from(format!("{host}.site.test"))).collect()
}

#[test]
fn a_night_proves_a_pulled_copy_and_every_master_has_the_proof() {
    let mut site = Plan::new(&[("m1", &[Master]), ("m2", &[Master]), ("e1", &[Etcd])]).build().unwrap();
    for master in ["m1", "m2"] {
        site.drop_in(master, "50-drill.toml", "[drill]\nhosts = [\"m1.site.test\"]\n").unwrap();
    }
    site.drop_in("e1", "50-drill.toml", "[drill]\nhosts = [\"m1.site.test\"]\n").unwrap();
    site.etcd[0].put("/registry/pods/ns/a", "one").unwrap();
    site.night().unwrap();
    for host in ["m1", "m2", "e1"] {
        let (code, status) = site.status(host).unwrap();
        assert_eq!((code, verdict(&status)), (0, "complete"), "{host}: {:#}", status["night"]["reasons"]);
        assert_eq!(outcome(&status, "drill"), "done");
    }
    let [proof] = &proofs(&site, "m1")[..] else { panic!("{:?}", proofs(&site, "m1")) };
    let drill = &proof["statement"]["drill"];
    assert_eq!((&proof["by"], &drill["verdict"]), (&"m1.site.test".into(), &"proved".into()));
    let compared = drill["compared"].as_array().unwrap();
    for what in ["revision", "live keys", "keys below /registry/pods/"] {
        let one = compared.iter().find(|one| one["what"] == what).unwrap_or_else(|| panic!("{drill:#}"));
        assert_eq!(one["expected"], one["found"]);
    }
    assert_eq!(proofs(&site, "m2"), proofs(&site, "m1"), "the proof was copied as it was");
    let (_, status) = site.status("m2").unwrap();
    let told = &status["night"]["record"]["proofs"][0];
    assert_eq!((&told["by"], &told["verdict"]), (&"m1.site.test".into(), &"proved".into()));
    let shown = good(site.run("m2", &["status"]).unwrap()).stdout;
    let row = shown.lines().find(|line| line.contains("PROVED")).and_then(|_| {
        shown.lines().find(|line| line.starts_with(&format!(" {E1}")) && line.ends_with("proved"))
    });
    assert!(row.is_some(), "{shown}");
    // Asked once more, when both surely have it: where else the set lies.
    good(site.run("m2", &["run", "drill", "--wait"]).unwrap());
    let (_, status) = site.status("m2").unwrap();
    let known = &status["night"]["etcd"][0];
    assert_eq!((&known["masters"], &known["remotes"]), (&names_of(&["m2", "m1"]), &Value::Array(vec![])));
    let shown = good(site.run("m2", &["status"]).unwrap()).stdout;
    assert!(shown.contains("2 masters, 0 remotes"), "{shown}");
    let planned = good(site.run("m2", &["plan"]).unwrap()).stdout;
    assert!(planned.contains("runs on m1.site.test"), "{planned}");
    wait_for_nothing_left(&site, "m1");
}

#[test]
fn by_hand_a_copy_is_proved_step_by_step_and_a_damaged_one_is_not() {
    let mut site = alone();
    site.drop_in("e1", "50-drill.toml", "[drill]\nhosts = []\n").unwrap();
    site.night().unwrap();
    let (code, status) = site.status("e1").unwrap();
    assert_eq!((code, outcome(&status, "drill")), (0, "done"), "nobody's turn, nothing amiss");

    let ran = good(site.run("e1", &["drill"]).unwrap());
    for told in ["unpack", "restore", "write", "live keys", "accepted a write"] {
        assert!(ran.stdout.contains(told), "{told}: {ran:?}");
    }
    assert_eq!(proofs(&site, "e1").len(), 1);

    // Another byte in the middle, under a gzip that is sound in itself.
    let snapshot = set_folder(&site, "e1", "e1", "etcd").join("snapshot.db.gz");
    let line = "gunzip -c \"$1\" >\"$1.db\"; printf X | dd of=\"$1.db\" bs=1 seek=9000 conv=notrunc 2>/dev/null; \
                gzip -c \"$1.db\" >\"$1\"; rm \"$1.db\"";
    crate::support::shell(line, &[&snapshot]);
    let ran = ends_with(site.run("e1", &["drill", "--json"]).unwrap(), 1);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["verdict"], "not-restorable");
    assert!(report["reason"].as_str().unwrap().contains("SHA-256"), "{report:#}");
    wait_for_nothing_left(&site, "e1");
}

#[test]
fn a_night_whose_stored_copy_does_not_restore_has_failed() {
    let mut site = alone();
    // Held back until its copy was damaged.
    site.drop_in("e1", "50-drill.toml", "[drill]\nhosts = []\n").unwrap();
    site.night().unwrap();
    let snapshot = set_folder(&site, "e1", "e1", "etcd").join("snapshot.db.gz");
    let whole = fs::read(&snapshot).unwrap();
    fs::write(&snapshot, &whole[..whole.len() / 2]).unwrap();
    site.stop_all().unwrap();
    site.drop_in("e1", "50-drill.toml", "[drill]\nhosts = [\"e1.site.test\"]\n").unwrap();
    site.start("e1").unwrap();
    ends_with(site.run("e1", &["run", "drill", "--wait"]).unwrap(), 3);
    let (code, status) = site.status("e1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "failed"));
    let reasons = status["night"]["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "told once: {reasons:?}");
    assert!(reasons[0]["text"].as_str().unwrap().contains("e1.site.test's copy of"), "{reasons:?}");
    assert_eq!(proofs(&site, "e1")[0]["statement"]["drill"]["verdict"], "not-restorable");
}

#[test]
fn what_keeps_a_drill_from_being_tried_says_nothing_about_the_copy() {
    let mut site = alone();
    let tools = site.host("e1").state().join("tools");
    fs::create_dir_all(&tools).unwrap();
    let named = |name: &str| format!("[drill]\n{name}\n");
    site.drop_in("e1", "50-drill.toml", &named(&format!("etcd-tools = {tools:?}"))).unwrap();
    site.night().unwrap();
    let (code, status) = site.status("e1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "degraded"));
    let why = reason(&status, "drill");
    assert!(why.starts_with("verified, not proved: no etcd in "), "{why}");
    assert!(proofs(&site, "e1").is_empty());
    let checked = site.run("e1", &["check"]).unwrap();
    let told = "this host cannot run its restore drill: no etcd in ";
    assert!(checked.stderr.contains(told), "{checked:?}");

    for name in ["etcd", "etcdctl"] {
        let script = format!("#!/bin/sh\necho {name} Version: 3.3.10\n");
        fs::write(tools.join(name), script).unwrap();
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ran = ends_with(site.run("e1", &["drill"]).unwrap(), 3);
    let mismatch = "etcd has version 3.3.10, but the snapshot is of etcd 3.";
    assert!(ran.stdout.contains(mismatch), "{ran:?}");

    site.drop_in("e1", "50-drill.toml", &named("etcd-tools = \"none\"")).unwrap();
    let ran = ends_with(site.run("e1", &["drill"]).unwrap(), 3);
    let none = "etcd's programs are not used on this host (`etcd-tools = \"none\"` in [drill])";
    assert!(ran.stdout.contains(&format!("not proved: {none}")), "{ran:?}");
    let checked = site.run("e1", &["check"]).unwrap();
    assert!(checked.stderr.contains(&format!("cannot run its restore drill: {none}")), "{checked:?}");

    let fills = named(&format!("scratch = {:?}", "/proc/self/not-there"));
    site.drop_in("e1", "50-drill.toml", &fills).unwrap();
    let ran = ends_with(site.run("e1", &["drill"]).unwrap(), 3);
    assert!(ran.stdout.contains("not proved: cannot create a scratch directory"), "{ran:?}");
    site.drop_in("e1", "50-drill.toml", "[vault]\nmin-free = \"1000TiB\"\n").unwrap();
    let ran = ends_with(site.run("e1", &["drill"]).unwrap(), 3);
    assert!(ran.stdout.contains("not proved: not enough space to restore"), "{ran:?}");
    wait_for_nothing_left(&site, "e1");
    site.etcd[0].put("/still", "well").unwrap();
}

#[test]
fn a_directory_without_a_members_data_is_not_proved() {
    let site = alone();
    let folder = site.host("e1").state().join("copies");
    let member = |name: &str| folder.join(name).join("member");
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::create_dir_all(folder.join("unrelated/snap")).unwrap();
    fs::write(folder.join("unrelated/readme"), "not etcd").unwrap();
    fs::create_dir_all(member("too-high").join("member/snap")).unwrap();
    fs::create_dir_all(member("bare").join("snap")).unwrap();
    for name in ["empty", "unrelated", "too-high", "bare", "too-high/member"] {
        let directory = folder.join(name);
        let ran =
            ends_with(site.run("e1", &["drill", "--data-dir", directory.to_str().unwrap()]).unwrap(), 1);
        assert!(ran.stdout.contains("not restorable: "), "{name}: {ran:?}");
        assert!(ran.stdout.contains("contains no data of an etcd member"), "{name}: {ran:?}");
    }
    // What the copy would lack says nothing about it.
    fs::create_dir_all(folder.join("linked")).unwrap();
    fs::create_dir_all(member("log-elsewhere").join("snap")).unwrap();
    for link in [member("linked"), member("log-elsewhere").join("wal")] {
        std::os::unix::fs::symlink("/nonexistent", &link).unwrap();
        let directory = link.ancestors().find(|path| path.parent() == Some(&folder)).unwrap();
        let ran =
            ends_with(site.run("e1", &["drill", "--data-dir", directory.to_str().unwrap()]).unwrap(), 3);
        assert!(ran.stdout.contains("not proved: ") && ran.stdout.contains("symbolic link"), "{ran:?}");
    }
    wait_for_nothing_left(&site, "e1");
}

/// Raises the alarm CORRUPT for a member, by etcd's HTTP gateway.
fn raise_corrupt(url: &str, member: u64) {
    let address = url.strip_prefix("http://").unwrap();
    let body = format!("{{\"action\":1,\"memberID\":\"{member}\",\"alarm\":2}}");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "POST /v3/maintenance/alarm HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_copy_with_another_members_corrupt_alarm_is_proved_and_one_with_its_own_is_not() {
    let mut site = alone();
    raise_corrupt(&site.etcd[0].url, 0xb2);
    site.night().unwrap();
    let [proof] = &proofs(&site, "e1")[..] else { panic!("{:?}", proofs(&site, "e1")) };
    let drill = &proof["statement"]["drill"];
    assert_eq!(drill["verdict"], "proved", "{drill:#}");
    let noted = drill["compared"].to_string();
    assert!(
        noted.contains("alarm CORRUPT of member b2") && noted.contains("etcdctl alarm disarm"),
        "{noted}"
    );

    let manifest = fs::read(set_folder(&site, "e1", "e1", "etcd").join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let own = u64::from_str_radix(manifest["etcd"]["member_id"].as_str().unwrap(), 16).unwrap();
    raise_corrupt(&site.etcd[0].url, own);
    site.stop_all().unwrap();
    fs::remove_dir_all(site.host("e1").state()).unwrap();
    site.night().unwrap();
    let (_, status) = site.status("e1").unwrap();
    let why = reason(&status, "drill");
    assert!(why.contains("not proved: the copy contains the alarm CORRUPT, its own member's"), "{why}");
    assert!(proofs(&site, "e1").is_empty());
}

#[test]
fn a_killed_daemon_leaves_neither_etcd_nor_scratch_and_the_next_one_proves() {
    let mut site = alone();
    slowly(&site, "e1");
    site.start("e1").unwrap();
    let folder = scratch(&site, "e1");
    poll("the drill to copy", SOON, || match fs::metadata(folder.join("nightshift-drill/snapshot.db")) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error}: {}", site.log("e1"))),
    })
    .unwrap();
    site.host_mut("e1").daemon.take().unwrap().kill().unwrap();
    wait_for_nothing_left(&site, "e1");

    site.drop_in("e1", "50-slow.toml", "").unwrap();
    site.start("e1").unwrap();
    let status = site.settle("e1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    assert_eq!(proofs(&site, "e1")[0]["statement"]["drill"]["verdict"], "proved");
}

#[test]
fn a_killed_worker_proves_nothing_and_leaves_nothing_and_the_daemon_goes_on() {
    let mut site = alone();
    slowly(&site, "e1");
    site.start("e1").unwrap();
    let folder = scratch(&site, "e1");
    let data = site.host("e1").daemon().id();
    let worker = poll("the drill's worker", SOON, || {
        let copying = folder.join("nightshift-drill/snapshot.db").exists();
        child_of(data, "drill-worker").filter(|_| copying).ok_or_else(|| site.log("e1"))
    })
    .unwrap();
    Cmd::new("kill").args(["-KILL", &worker]).run().unwrap();
    let status = site.settle("e1").unwrap();
    wait_for_nothing_left(&site, "e1");
    assert_eq!(verdict(&status), "degraded");
    let why = reason(&status, "drill");
    assert!(why.contains("not proved: the drill's process was killed"), "{why}");
    assert!(proofs(&site, "e1").is_empty());
    for stage in ["snapshot-etcd", "prune"] {
        assert_eq!(outcome(&status, stage), "done", "{stage}");
    }
}

/// A process of this parent with this word in its command line.
fn child_of(parent: u32, word: &str) -> Option<String> {
    let children = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let found = children.filter(|path| {
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        let after = stat.rsplit_once(") ").map(|(_, after)| after.to_owned()).unwrap_or_default();
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        after.split(' ').nth(1) == Some(&parent.to_string()) && String::from_utf8_lossy(&line).contains(word)
    });
    let mut found = found.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    found.next()
}

/// The runbook backs up by `etcdctl backup` and a copy of the live database beside it.
#[test]
fn the_runbooks_backup_is_healthy_and_refuses_writes_which_the_drill_says_and_ours_is_proved() {
    let mut site = alone();
    let etcd = &site.etcd[0];
    let (data, backup) = (etcd.data(), site.host("e1").state().join("backup"));
    fs::create_dir_all(backup.parent().unwrap()).unwrap();
    Cmd::new("env")
        .args(["ETCDCTL_API=2", "etcdctl", "backup", "--data-dir"])
        .arg(&data)
        .arg("--backup-dir")
        .arg(&backup)
        .run()
        .unwrap();
    // What is written between the two, as on any cluster that lives.
    for number in 0..30 {
        etcd.put(&format!("/registry/events/ns/{number}"), "an event").unwrap();
    }
    etcd.settle().unwrap();
    fs::copy(data.join("member/snap/db"), backup.join("member/snap/db")).unwrap();

    let health = etcd_of_the_runbook(&site, &backup);
    assert!(health.contains("is healthy"), "{health}");
    let ran = ends_with(site.run("e1", &["drill", "--data-dir", backup.to_str().unwrap()]).unwrap(), 1);
    assert!(ran.stdout.contains("not restorable: etcd accepts no write"), "{ran:?}");

    site.night().unwrap();
    let (_, status) = site.status("e1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    assert_eq!(proofs(&site, "e1")[0]["statement"]["drill"]["verdict"], "proved");
    wait_for_nothing_left(&site, "e1");
}

/// Starts the runbook's backup as the runbook does, and asks for its health.
fn etcd_of_the_runbook(site: &Site, backup: &Path) -> String {
    let copy = site.host("e1").state().join("restored");
    crate::support::shell("cp -a \"$1\" \"$2\"", &[backup, &copy]);
    let restored = kit::etcd::Etcd::start_forced(&copy, &[]).unwrap();
    let health = restored.health().unwrap();
    assert!(restored.put("/registry/a", "write").is_err(), "it took a write");
    health
}

#[test]
fn a_set_in_an_archive_is_proved_as_well() {
    let plan: &[(&str, &[_])] =
        &[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[kit::lab::Role::BackupServer])];
    let mut site = Plan::new(plan).build().unwrap();
    site.etcd[0].put("/registry/pods/ns/a", "one").unwrap();
    site.night().unwrap();
    let archive = crate::support::archive_in(&site.inbox());
    let ran = good(site.run("m1", &["drill", "--archive", archive.to_str().unwrap()]).unwrap());
    assert!(ran.stdout.contains("accepted a write") && ran.stdout.contains(".tgz: proved"), "{ran:?}");
    wait_for_nothing_left(&site, "m1");
}

/// Beside the run directory, as that of the cold copy is.
fn drill_sockets(site: &Site, host: &str) -> PathBuf {
    site.run_folder(host).with_file_name("nightshift-drill")
}

/// Stands in for systemd: listens where the drill's unit is asked for, and answers each caller as `answer` does.
fn instead_of_systemd(site: &Site, host: &str, answer: impl Fn(UnixStream) + Send + 'static) {
    let folder = drill_sockets(site, host);
    fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join("drill.sock")).unwrap();
    thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap())));
}

/// The drill's worker on a connection, started by these words.
fn work(words: &[String], stream: UnixStream) {
    let program = kit::daemon::program().unwrap().display().to_string();
    let all: Vec<String> = words.iter().cloned().chain([program, "drill-worker".to_owned()]).collect();
    let end = |stream: UnixStream| Stdio::from(OwnedFd::from(stream));
    let mut worker = Command::new(&all[0])
        .args(&all[1..])
        .stdin(end(stream.try_clone().unwrap()))
        .stdout(end(stream))
        .spawn()
        .unwrap();
    worker.wait().unwrap();
}

#[test]
fn where_systemd_listens_the_drill_runs_in_its_unit_and_one_that_is_ended_proves_nothing() {
    let mut site = alone();
    let scratch = format!("[drill]\nscratch = {:?}\n", scratch(&site, "e1"));
    site.drop_in("e1", "50-drill.toml", &scratch).unwrap();
    instead_of_systemd(&site, "e1", |stream| work(&[], stream));
    site.night().unwrap();
    let (_, status) = site.status("e1").unwrap();
    assert_eq!(verdict(&status), "complete", "{:#}", status["night"]["reasons"]);
    let proof = &proofs(&site, "e1")[0]["statement"]["drill"];
    assert!(
        proof["tools"].as_str().unwrap().ends_with(", in its own unit, but in this host's network"),
        "{proof:#}"
    );
    wait_for_nothing_left(&site, "e1");

    fs::remove_file(drill_sockets(&site, "e1").join("drill.sock")).unwrap();
    instead_of_systemd(&site, "e1", |mut stream| {
        stream.write_all(b"{\"say\":\"hello\"}\n").unwrap();
    });
    let ran = ends_with(site.run("e1", &["drill"]).unwrap(), 3);
    assert!(ran.stdout.contains("not proved: the drill's unit was killed (out of memory"), "{ran:?}");
}

/// A host whose etcd docker runs, with its programs in the container alone: the words that run a program there.
fn without_installed_programs(tree: &Path) -> Vec<String> {
    let id = "5e1f".repeat(16);
    let docker = tree.join("docker");
    let write = |path: String, content: &[u8]| {
        let path = docker.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let state = serde_json::json!({ "ID": id, "Name": "/etcd_container", "State": { "Running": true } });
    write(format!("containers/{id}/config.v2.json"), state.to_string().as_bytes());
    write(format!("image/overlay2/layerdb/mounts/{id}/mount-id"), id.as_bytes());
    // Of the release that the members run.
    let release = kit::etcd::Release::default();
    let programs = release.folder().unwrap_or(Path::new("/usr/bin"));
    for program in ["etcd", "etcdctl", "etcdutl"] {
        if let Ok(content) = fs::read(programs.join(program)) {
            write(format!("overlay2/{id}/merged/usr/bin/{program}"), &content);
        }
    }
    let script = "for program in etcd etcdctl etcdutl; do \
                  if [ -e /usr/bin/$program ]; then mount --bind /dev/null /usr/bin/$program || exit; fi; done; \
                  mount --bind \"$1\" /var/lib && shift && exec \"$@\"";
    let words = ["unshare", "-rm", "sh", "-c", script, "sh", tree.to_str().unwrap()];
    words.map(str::to_owned).into()
}

#[test]
fn without_installed_programs_a_copy_is_proved_with_those_of_the_members_container_in_the_unit_alone() {
    if !kit::require(kit::journal::Journal::available()) {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    let wrapper = without_installed_programs(tree.path());
    let mut site = alone();
    let drill = format!("[drill]\nscratch = {:?}\netcd-tools = \"auto\"\n", scratch(&site, "e1"));
    site.drop_in("e1", "50-drill.toml", &drill).unwrap();
    let how = kit::daemon::Start { wrapper: &wrapper, ..Default::default() };
    site.start_with("e1", &how).unwrap();
    let status = site.settle("e1").unwrap();
    let why = reason(&status, "drill");
    assert!(why.starts_with("verified, not proved: no etcd in /usr/bin"), "{why}");
    assert!(why.contains("are run only in the drill's unit: run `systemctl enable"), "{why}");
    let kept = site.host("e1").state().join("etcd-tools");
    let [version] = &names(&kept)[..] else { panic!("{:?}", names(&kept)) };
    let listed = fs::read(kept.join(version).join("tools.json")).unwrap();
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let sha256 = listed["etcd"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(version, &format!("{}-{sha256}", listed["version"].as_str().unwrap()));

    let words = wrapper.clone();
    instead_of_systemd(&site, "e1", move |stream| work(&words, stream));
    good(site.run("e1", &["run", "drill", "--wait"]).unwrap());
    let drill = &proofs(&site, "e1")[0]["statement"]["drill"];
    assert_eq!(drill["verdict"], "proved", "{drill:#}");
    let etcd = &drill["programs"][0];
    assert_eq!((&etcd["name"], &etcd["sha256"]), (&"etcd".into(), &sha256.clone().into()), "{drill:#}");
    assert_eq!(etcd["origin"], "the member's container 5e1f5e1f5e1f");
    assert!(drill["tools"].as_str().unwrap().contains("of the member's container"), "{drill:#}");
    wait_for_nothing_left(&site, "e1");

    // A program that was changed since is not run.
    let stored = kept.join(version).join("etcd");
    let mut content = fs::read(&stored).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&stored, content).unwrap();
    fs::remove_dir_all(set_folder(&site, "e1", "e1", "etcd.proofs")).unwrap();
    ends_with(site.run("e1", &["run", "drill", "--wait"]).unwrap(), 3);
    let (_, status) = site.status("e1").unwrap();
    let why = reason(&status, "drill");
    assert!(
        why.contains("the etcd of the member's container is not the file that was copied from it"),
        "{why}"
    );
    assert!(proofs(&site, "e1").is_empty());
}

#[test]
fn a_cold_copy_is_proved_and_so_is_one_with_authentication_on() {
    let mut site = alone();
    let etcd = &site.etcd[0];
    let data = etcd.data();
    let running = ends_with(site.run("e1", &["drill", "--data-dir", data.to_str().unwrap()]).unwrap(), 2);
    assert!(running.stderr.contains("a running etcd uses this directory"), "{running:?}");
    site.etcd[0].kill();
    let ran = good(site.run("e1", &["drill", "--data-dir", data.to_str().unwrap()]).unwrap());
    assert!(ran.stdout.contains("accepted a write") && ran.stdout.contains("revision"), "{ran:?}");

    let copy = site.host("e1").state().join("secured");
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    crate::support::shell("cp -a \"$1\" \"$2\"", &[&data, &copy]);
    let mut secured = kit::etcd::Etcd::start_forced(&copy, &[]).unwrap();
    secured.secure().unwrap();
    secured.kill();
    let ran = good(site.run("e1", &["drill", "--data-dir", copy.to_str().unwrap()]).unwrap());
    assert!(ran.stdout.contains("accepted a write") && ran.stdout.contains("live keys"), "{ran:?}");
    assert!(!ran.stdout.contains("DIFFERS"), "{ran:?}");
    wait_for_nothing_left(&site, "e1");
}
