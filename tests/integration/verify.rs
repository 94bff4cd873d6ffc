//! What is called verified was read here: facts, signatures and checksums, each with the result of its check.

use std::fs;
use std::path::Path;

use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::{Plan, Site};
use serde_json::{Value, json};

use crate::support::{
    archive_in, ends_with, good, names, night_of, set_folder, set_report, sha256, shell, verdict,
};

/// Rewrites a set's manifest, as its host may do that made it.
fn claim(set: &Path, change: impl Fn(&mut Value)) {
    claim_again(set, change);
    fs::remove_file(set.join("manifest.json.sig")).unwrap();
}

/// As `claim`, where the signature is gone.
fn claim_again(set: &Path, change: impl Fn(&mut Value)) {
    let path = set.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// A master's night, once the etcd host has claimed something about its set.
fn after_a_claim(change: impl Fn(&mut Value)) -> (Site, Value) {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd])]).build().unwrap();
    site.etcd[0].put("/registry/pods/ns/a", "one").unwrap();
    site.start("e1").unwrap();
    site.settle("e1").unwrap();
    claim(&set_folder(&site, "e1", "e1", "etcd"), change);
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    (site, status)
}

#[test]
fn an_etcd_set_without_a_snapshot_is_bad_whatever_its_origin_host_says() {
    let (site, status) = after_a_claim(|manifest| {
        manifest["items"] = json!([]);
        manifest.as_object_mut().unwrap().remove("etcd");
    });
    let report = set_report(&status, "e1.site.test", "etcd");
    assert_eq!(report["grade"], "bad", "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains("neither a snapshot"), "{report:#}");
    assert_eq!(verdict(&status), "failed", "no good etcd snapshot of the cluster");
    let set = format!("e1.site.test/{}/etcd", night_of(&site, "m1"));
    let verified = ends_with(site.run("m1", &["verify", &set]).unwrap(), 1);
    assert!(verified.stdout.contains("BAD: it contains neither a snapshot"), "{verified:?}");
}

/// Replaces the snapshot in a manifest by one small file, with what the manifest states about it.
fn instead_of_the_snapshot(set: &Path, path: &str, content: &[u8], data: &Value) {
    let file = set.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
    claim(set, |manifest| {
        let items = manifest["items"].as_array_mut().unwrap();
        let snapshot = items.iter_mut().find(|item| item["path"] == "snapshot.db.gz").unwrap();
        snapshot["path"] = json!(path);
        snapshot["size"] = json!(content.len());
        snapshot["sha256"] = json!(sha256(content));
        manifest["etcd"]["data"] = data.clone();
    });
}

#[test]
fn an_etcd_set_that_only_claims_a_cold_copy_or_a_v2_backup_is_not_called_verified() {
    let mut site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd]), ("e2", &[Etcd])]).build().unwrap();
    for host in ["e1", "e2"] {
        site.start(host).unwrap();
    }
    for host in ["e1", "e2"] {
        site.settle(host).unwrap();
    }
    // A revision that no snapshot has, in a set with one byte in place of a cold copy.
    let cold_copy =
        json!({"item": "member.tar.gz", "raw_size": 1, "raw_sha256": sha256(b"x"), "stopped_ms": 1});
    let data = json!({"v3": true, "v2": true, "cold_copy": cold_copy});
    let e1 = set_folder(&site, "e1", "e1", "etcd");
    instead_of_the_snapshot(&e1, "member.tar.gz", b"x", &data);
    claim_again(&e1, |manifest| manifest["etcd"]["passed"]["revision"] = json!(98_765_432));
    let data = json!({"v3": false, "v2": true, "v2_backup": {"folder": "v2", "keys": 1_000_000}});
    let e2 = set_folder(&site, "e2", "e2", "etcd");
    instead_of_the_snapshot(&e2, "v2/member/wal/0.wal", b"x", &data);
    claim_again(&e2, |manifest| drop(manifest["etcd"].as_object_mut().unwrap().remove("passed")));

    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    let report = set_report(&status, "e1.site.test", "etcd");
    assert_eq!(report["fate"], "refused", "{report:#}");
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("member.tar.gz: cannot unpack the copy"), "{report:#}");
    let report = set_report(&status, "e2.site.test", "etcd");
    assert_eq!(report["verified"].as_str(), None, "{report:#}");
    let night = night_of(&site, "m1");
    let set = format!("e2.site.test/{night}/etcd");
    let verified = ends_with(site.run("m1", &["verify", &set]).unwrap(), 3);
    assert!(verified.stdout.contains(": unchecked: its v2 backup"), "{verified:?}");
}

#[test]
fn what_cannot_be_read_is_named_and_hides_nothing_else() {
    let mut site =
        Plan::new(&[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])]).build().unwrap();
    site.night().unwrap();
    let night = night_of(&site, "m1");
    // As root reads everything, a file is where a directory belongs, and a directory where a file does.
    let proofs = set_folder(&site, "m1", "m1", "etcd.proofs");
    if proofs.exists() {
        fs::remove_dir_all(&proofs).unwrap();
    }
    fs::write(&proofs, b"not a directory").unwrap();
    let manifest = set_folder(&site, "m1", "n1", "node").join("manifest.json");
    fs::remove_file(&manifest).unwrap();
    fs::create_dir(&manifest).unwrap();

    let run = |code, words: &[&str]| ends_with(site.run("m1", words).unwrap(), code);
    let status = run(3, &["status"]);
    let line = status.stdout.lines().find(|line| line.starts_with("! ")).unwrap_or_default();
    assert!(line.contains("a proof of m1.site.test/"), "{status:?}");
    let one = run(3, &["nights", &night]);
    assert!(one.stdout.contains("m1.site.test") && one.stderr.contains("unreadable: a proof of"), "{one:?}");
    let sets = run(3, &["sets"]);
    let rows =
        |host: &str, word: &str| sets.stdout.lines().any(|row| row.contains(host) && row.contains(word));
    assert!(rows("n1.site.test", "unusable") && rows("m1.site.test", " good "), "{sets:?}");
    assert!(sets.stderr.contains("warning: a proof of m1.site.test/"), "{sets:?}");
    let json = run(3, &["sets", "--json"]);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&json.stdout).unwrap().len(), 3);
    let verified = run(3, &["verify"]);
    for line in [
        format!("n1.site.test/{night}/node: unchecked: "),
        format!("m1.site.test/{night}/etcd: good, "),
        format!("m1.site.test/{night}/etcd: unchecked: a proof is unusable: "),
        format!("m1.site.test/{night}/master: good, "),
    ] {
        assert!(verified.stdout.lines().any(|printed| printed.starts_with(&line)), "{line} in {verified:?}");
    }
    let check = site.run("m1", &["check"]).unwrap();
    assert!(check.stderr.contains("warning: the size of the vault is not checked in full"), "{check:?}");
    assert!(check.stdout.contains("config: m1.site.test"), "{check:?}");

    let (zip, archive) = (site.host("m1").state().join("backup.zip"), archive_in(&site.inbox()));
    fs::write(&zip, b"PK\x03\x04 and more").unwrap();
    let both = run(3, &["verify", zip.to_str().unwrap(), archive.to_str().unwrap()]);
    assert!(both.stdout.contains("unchecked: ") && both.stdout.contains(": verified, 3 sets"), "{both:?}");
}

#[test]
fn a_proof_without_a_signature_is_named_and_the_set_is_not_called_verified() {
    let mut site = Plan::new(&[("e1", &[Etcd])]).build().unwrap();
    site.night().unwrap();
    good(site.run("e1", &["verify"]).unwrap());
    let proofs = set_folder(&site, "e1", "e1", "etcd.proofs");
    let signatures = fs::read_dir(&proofs).unwrap().map(|entry| entry.unwrap().path());
    let signatures: Vec<_> =
        signatures.filter(|path| path.extension().is_some_and(|it| it == "sig")).collect();
    assert_eq!(signatures.len(), 1);
    fs::remove_file(&signatures[0]).unwrap();
    let unsigned = ends_with(site.run("e1", &["verify"]).unwrap(), 3);
    assert!(unsigned.stdout.contains(": unchecked: the proof e1.site.test-"), "{unsigned:?}");
    assert!(unsigned.stdout.contains(".json: unsigned"), "{unsigned:?}");
}

#[test]
fn facts_that_a_snapshot_does_not_have_are_refused_and_no_text_of_its_host_is_called_a_check() {
    let (site, status) = after_a_claim(|manifest| {
        manifest["etcd"]["passed"]["revision"] = json!(98_765_432);
        manifest["etcd"]["passed"]["entries"] = json!(1_234_567);
    });
    let report = set_report(&status, "e1.site.test", "etcd");
    assert_eq!(report["fate"], "refused", "{report:#}");
    let reason = report["reason"].as_str().unwrap();
    for part in ["revision: its manifest says 98765432", "entries: its manifest says 1234567"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(verdict(&status), "failed");
    drop(site);

    let (site, status) =
        after_a_claim(|manifest| manifest["etcd"]["checked"] = json!("proved by e1, honestly"));
    assert_eq!(set_report(&status, "e1.site.test", "etcd")["grade"], "good");
    let shown = good(site.run("m1", &["nights", &night_of(&site, "m1")]).unwrap()).stdout;
    assert!(shown.contains("verified here, 2") && !shown.contains("honestly"), "{shown}");
    let set = format!("e1.site.test/{}/etcd", night_of(&site, "m1"));
    let unsigned = ends_with(site.run("m1", &["verify", &set]).unwrap(), 3);
    assert!(unsigned.stdout.contains("unsigned"), "{unsigned:?}");
}

#[test]
fn verify_says_who_signed_a_set_and_does_not_call_it_verified_where_that_cannot_be_checked() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let night = night_of(&site, "m1");
    let [pulled, own] = ["n1.site.test", "m1.site.test"].map(|host| {
        let role = if host.starts_with('n') { "node" } else { "master" };
        (format!("{host}/{night}/{role}"), format!("signed by {host}"))
    });
    for (set, signed) in [&pulled, &own] {
        let verified = good(site.run("m1", &["verify", set]).unwrap());
        assert!(verified.stdout.contains(signed) && verified.stdout.contains(": good, "), "{verified:?}");
    }
    let pins = fs::read(site.known_hosts()).unwrap();
    fs::remove_file(site.known_hosts()).unwrap();
    let unchecked = ends_with(site.run("m1", &["verify", &pulled.0]).unwrap(), 3);
    assert!(unchecked.stdout.contains("signature unchecked: no host key is pinned"), "{unchecked:?}");
    good(site.run("m1", &["verify", &own.0]).unwrap());
    fs::write(site.known_hosts(), pins).unwrap();

    let folder = set_folder(&site, "m1", "n1", "node");
    let stranger = site.host("m1").state().join("stranger");
    shell("ssh-keygen -q -t ed25519 -N '' -f \"$1\"", &[&stranger]);
    fs::remove_file(folder.join("manifest.json.sig")).unwrap();
    shell(
        "ssh-keygen -q -Y sign -n nightshift-set -f \"$1\" \"$2\" 2>/dev/null",
        &[&stranger, &folder.join("manifest.json")],
    );
    let forged = ends_with(site.run("m1", &["verify", &pulled.0]).unwrap(), 1);
    assert!(forged.stdout.contains("BAD: signature refused: signed with the key SHA256:"), "{forged:?}");
    fs::remove_file(folder.join("manifest.json.sig")).unwrap();
    let unsigned = ends_with(site.run("m1", &["verify"]).unwrap(), 3);
    assert!(unsigned.stdout.contains("unsigned"), "{unsigned:?}");
}

#[test]
fn verify_checks_the_signature_and_the_checksum_of_an_archive() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(plan).build().unwrap();
    site.night().unwrap();
    let archive = archive_in(&site.inbox());
    let verify = |code, more: &[&str]| {
        let words = [&["verify", archive.to_str().unwrap()], more].concat();
        ends_with(site.run("m1", &words).unwrap(), code).stdout
    };
    let verified = verify(0, &[]);
    assert!(verified.contains("checksum matches, signed by m1.site.test"), "{verified}");

    let beside = |extension: &str| {
        archive.with_file_name(format!("{}.{extension}", archive.file_name().unwrap().display()))
    };
    let [sum, signature] = ["sha256", "sig"].map(|extension| fs::read(beside(extension)).unwrap());
    for (extension, original) in [("sha256", &sum), ("sig", &signature)] {
        fs::write(beside(extension), b"garbage").unwrap();
        let bad = verify(1, &[]);
        assert!(bad.contains("BAD: "), "{extension}: {bad}");
        fs::write(beside(extension), original).unwrap();
    }
    // An archive of a stranger's, complete in itself.
    let stranger = site.host("m1").state().join("stranger");
    shell("ssh-keygen -q -t ed25519 -N '' -f \"$1\"", &[&stranger]);
    fs::remove_file(beside("sig")).unwrap();
    shell("ssh-keygen -q -Y sign -n nightshift-archive -f \"$1\" \"$2\" 2>/dev/null", &[&stranger, &archive]);
    let forged = verify(3, &[]);
    assert!(
        forged.contains("signature unchecked: signed with the key SHA256:"),
        "an own key of before? {forged}"
    );
    let pins = site.known_hosts();
    let elsewhere = |code, known: &str| {
        let config = site.host("m1").state().join("none.toml");
        let program = kit::daemon::program().unwrap();
        let line = format!("\"$1\" --config \"$2\" verify \"$3\" {known} || test $? -eq {code}");
        shell(&line, &[&program, &config, &archive, &pins])
    };
    // On another machine, without a configuration: its pins are for the ports of the site.
    let pin = |host: &str| format!("{host}.site.test {}\n", site.host(host).sshd.public_key().unwrap());
    fs::write(&pins, pin("m1") + &pin("n1")).unwrap();
    assert!(elsewhere(1, "--known-hosts \"$4\"").contains("BAD: signature refused"));
    fs::write(beside("sig"), &signature).unwrap();
    assert!(elsewhere(0, "--known-hosts \"$4\"").contains("signed by m1.site.test"));
    assert!(elsewhere(3, "").contains("signature unchecked: no pinned host keys"));
    fs::remove_file(beside("sig")).unwrap();
    assert!(elsewhere(3, "--known-hosts \"$4\"").contains("unsigned"));
}

#[test]
fn a_set_in_an_archive_needs_the_signature_of_its_own_host() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let signature = set_folder(&site, "m1", "n1", "node").join("manifest.json.sig");
    let outbox = site.host("m1").state().join("outbox");
    // What the master packs and signs is not what the node signed.
    let verified_as = |code, forge: &dyn Fn()| {
        forge();
        good(site.run("m1", &["run", "pack-archive", "--wait"]).unwrap());
        let archives = names(&outbox).into_iter().filter(|name| name.ends_with(".tgz"));
        let newest = archives.max_by_key(|name| fs::metadata(outbox.join(name)).unwrap().modified().unwrap());
        let archive = outbox.join(newest.unwrap());
        ends_with(site.run("m1", &["verify", archive.to_str().unwrap()]).unwrap(), code).stdout
    };
    let refused = verified_as(1, &|| fs::write(&signature, "garbage").unwrap());
    assert!(refused.contains("BAD: n1.site.test/") && refused.contains("signature"), "{refused}");
    let unsigned = verified_as(3, &|| fs::remove_file(&signature).unwrap());
    assert!(unsigned.contains("/node: unsigned"), "{unsigned}");
}

#[test]
fn what_a_reinstalled_host_signed_before_stays_verified_once_its_key_is_replaced() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let set = format!("n1.site.test/{}/node", night_of(&site, "m1"));
    good(site.run("m1", &["verify", &set]).unwrap());
    site.host_mut("n1").sshd.change_host_key().unwrap();
    let changed = ends_with(site.run("m1", &["trust", "n1.site.test"]).unwrap(), 1);
    assert!(changed.stderr.contains("run `nightshift trust --replace n1.site.test`"), "{changed:?}");
    let piped = ends_with(site.run("m1", &["trust", "--replace", "n1.site.test"]).unwrap(), 1);
    assert!(piped.stderr.contains("confirming a key needs a terminal"), "{piped:?}");

    let key = site.host("n1").sshd.public_key().unwrap();
    let file = site.host("m1").state().join("key.pub");
    fs::write(&file, format!("{key}\n")).unwrap();
    let fingerprint = shell("ssh-keygen -lf \"$1\" | cut -d' ' -f2", &[&file]);
    let words = ["trust", "--replace", "n1.site.test", "--fingerprint", fingerprint.trim()];
    let replaced = good(site.run("m1", &words).unwrap());
    assert!(replaced.stdout.contains("1 key kept as former"), "{replaced:?}");
    let verified = good(site.run("m1", &["verify", &set]).unwrap());
    assert!(verified.stdout.contains("signed by n1.site.test"), "{verified:?}");
    let connected = good(site.run("m1", &["check", "--connect"]).unwrap());
    assert!(connected.stdout.contains("n1.site.test: host key matches"), "{connected:?}");
    let port = ends_with(site.run("m1", &["trust", "n1.site.test:22x"]).unwrap(), 2);
    assert!(port.stderr.contains("n1.site.test:22x: invalid host or port; expected HOST"), "{port:?}");
}

#[test]
fn a_masters_key_is_replaced_once_every_host_lets_the_new_one_in() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    let rotate = |code| ends_with(site.run("m1", &["keys", "rotate"]).unwrap(), code);
    let line = |ran: &str| ran.lines().find(|line| line.contains("ssh-ed25519")).unwrap().to_owned();
    let first = rotate(0);
    let refused = rotate(3);
    assert!(refused.stderr.contains("1 of 1 hosts did not let the new one in"), "{refused:?}");
    good(site.run("m1", &["check", "--connect"]).unwrap());

    // The kit's user is not limited to the master's addresses.
    let new = line(&first.stdout);
    let new = new.split_once("ssh-ed25519 ").map(|(_, key)| format!("ssh-ed25519 {key}")).unwrap();
    site.host("n1").sshd.authorize(&[new]).unwrap();
    let replaced = rotate(0);
    assert!(replaced.stdout.contains("n1.site.test: the new key works"), "{replaced:?}");
    good(site.run("m1", &["check", "--connect"]).unwrap());
}
