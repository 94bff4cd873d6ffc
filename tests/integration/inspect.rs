//! What `inspect` tells of sets, archives and snapshots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kit::daemon::program;
use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::lab::cmd::Cmd;
use kit::site::{Plan, Ran, Site};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{archive_in, ends_with, good, names, sha256, shell};

const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop"},"spec":{"nodeName":"n1"}}"#;
/// `runtime.Unknown` of a secret, as the API server stores it.
const SECRET: &[u8] = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x16\x0a\x14\x0a\x05token\x12\x00\x1a\x04shop\x2a\x03u-1\x1a\x00\x22\x00";

/// A snapshot that a real etcd made for the tests of the snapshot crate.
fn made(name: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/snapshot/tests/data");
    data.join(format!("{name}.db.gz")).to_str().unwrap().to_owned()
}

/// `inspect` without a config: files need none.
fn inspect(words: &[&str]) -> Ran {
    let output =
        Cmd::new(program().unwrap()).args(["--config", "/not/there", "inspect"]).args(words).output();
    let output = output.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Ran { code: output.status, stdout, stderr: output.stderr }
}

fn json(ran: Ran) -> Value {
    serde_json::from_str(&good(ran).stdout).unwrap()
}

fn keys(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect()
}

/// Puts bytes, which no argument could hold.
fn put(site: &Site, key: &str, value: &[u8]) {
    site.etcd[0].put(key, value).unwrap();
}

/// What etcdctl saves and says of the member's database, in a folder.
fn saved(site: &Site, folder: &Path) -> (PathBuf, Value) {
    let endpoint = &site.etcd[0].url;
    let file = folder.join("saved.db");
    let save = "ETCDCTL_API=3 etcdctl --endpoints \"$1\" snapshot save \"$2\" >/dev/null 2>&1";
    shell(save, &[Path::new(endpoint), &file]);
    let status = shell("ETCDCTL_API=3 etcdctl snapshot status \"$1\" -w json", &[&file]);
    (file, serde_json::from_str(&status).unwrap())
}

fn site_with_objects() -> Site {
    let plan: &[(&str, &[_])] = &[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let site = Plan::new(plan).build().unwrap();
    put(&site, "/kubernetes.io/pods/shop/web", POD.as_bytes());
    put(&site, "/kubernetes.io/secrets/shop/token", SECRET);
    put(&site, "/kubernetes.io/secrets/shop/sealed", b"k8s:enc:aescbc:v1:key1:\x01\x02\xff");
    site
}

#[test]
fn a_set_an_archive_and_a_file_give_the_same_keys_and_values() {
    let mut site = site_with_objects();
    site.night().unwrap();
    site.stop_all().unwrap();
    let folder = tempdir().unwrap();
    let (file, status) = saved(&site, folder.path());
    let night = night_of_m1(&site);
    let (set, archive) = (format!("m1.site.test/{night}/etcd"), archive_in(&site.inbox()));
    let (file, archive) = (file.to_str().unwrap(), archive.to_str().unwrap());

    let told = json(site.run("m1", &["inspect", &set, "--json"]).unwrap());
    let facts = &told["snapshot"]["facts"];
    let numbers = ["hash", "revision", "totalKey", "totalSize"].map(|name| status[name].clone());
    assert_eq!(["hash", "revision", "total_keys", "total_size"].map(|name| facts[name].clone()), numbers);
    assert_eq!((&facts["live_keys"], &told["manifest"]["grade"]), (&Value::from(3), &Value::from("good")));
    assert_eq!(told["snapshot"]["findings"], Value::Array(Vec::new()));
    let text = good(site.run("m1", &["inspect", &set]).unwrap()).stdout;
    for part in ["snapshot.db.gz", "member m1.site.test", " /kubernetes.io/secrets  2 ", "findings      none"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }

    let words = ["/kubernetes.io/", "--json"];
    let wanted = json(inspect(&[&[file, "keys"], &words[..]].concat()));
    let objects = [
        "/kubernetes.io/pods/shop/web",
        "/kubernetes.io/secrets/shop/sealed",
        "/kubernetes.io/secrets/shop/token",
    ];
    assert_eq!(keys(&wanted), objects);
    let of_night = good(site.run("m1", &["inspect", &night, "keys", words[0], words[1]]).unwrap());
    assert!(of_night.stderr.contains(&format!("showing {set}")), "{of_night:?}");
    assert_eq!(json(of_night), wanted);
    for what in [&set[..], archive] {
        assert_eq!(
            json(site.run("m1", &["inspect", what, "keys", words[0], words[1]]).unwrap()),
            wanted,
            "{what}"
        );
        let raw = good(inspect_at(&site, what, &["get", objects[0]]));
        assert_eq!(raw.stdout, POD, "{what}");
    }

    let told = good(inspect(&[archive])).stdout;
    for part in ["3 sets", &set, "n1.site.test", "root_cron", "snapshot.db.gz"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let other = ends_with(inspect(&[archive, "keys", "--host", "n1.site.test"]), 1);
    assert!(other.stderr.contains("has no such etcd set"), "{other:?}");
    let node = format!("n1.site.test/{night}/node");
    let other = ends_with(site.run("m1", &["inspect", &node, "keys"]).unwrap(), 1);
    assert!(other.stderr.contains("only sets of the role etcd"), "{other:?}");
    assert!(good(site.run("m1", &["inspect", &node]).unwrap()).stdout.contains("root_cron"));
}

#[test]
fn an_object_says_which_it_is_however_it_is_stored() {
    let site = site_with_objects();
    let folder = tempdir().unwrap();
    let (file, _) = saved(&site, folder.path());
    let file = file.to_str().unwrap();
    let get = |key: &str, words: &[&str]| inspect(&[&[file, "get", key], words].concat());

    let pod = get("/kubernetes.io/pods/shop/web", &["--output", "yaml"]);
    assert!(good(pod).stdout.contains("  nodeName: n1\n"));
    let pod = json(get("/kubernetes.io/pods/shop/web", &["--output", "json"]));
    assert_eq!(pod, serde_json::from_str::<Value>(POD).unwrap());
    let secret = json(get("/kubernetes.io/secrets/shop/token", &["--output", "json"]));
    let wanted = serde_json::json!({
        "encoding": "protobuf", "apiVersion": "v1", "kind": "Secret",
        "namespace": "shop", "name": "token", "uid": "u-1", "size": SECRET.len(),
    });
    assert_eq!(secret, wanted);
    let raw = Cmd::new(program().unwrap())
        .args(["inspect", file, "get", "/kubernetes.io/secrets/shop/token"])
        .run();
    assert_eq!(raw.unwrap().stdout, SECRET);
    let sealed = json(get("/kubernetes.io/secrets/shop/sealed", &["--output", "json"]));
    assert_eq!((&sealed["encrypted"], &sealed["key"]), (&Value::from("aescbc"), &Value::from("key1")));
}

#[test]
fn two_nights_differ_in_what_was_done_between_them() {
    let mut site = site_with_objects();
    site.night().unwrap();
    site.stop_all().unwrap();
    put(&site, "/kubernetes.io/pods/shop/web", POD.replace("n1", "n2").as_bytes());
    put(&site, "/kubernetes.io/pods/shop/late", b"{}");
    // Written again as it was: that is no change.
    put(&site, "/kubernetes.io/secrets/shop/token", SECRET);
    let endpoint = &site.etcd[0].url;
    let delete = "ETCDCTL_API=3 etcdctl --endpoints \"$1\" del /kubernetes.io/secrets/shop/sealed";
    shell(delete, &[Path::new(endpoint)]);
    let night = night_of_m1(&site);
    a_later_night(&site, "2099-01-01");

    let told = good(site.run("m1", &["inspect", "diff", &night, "2099-01-01"]).unwrap());
    let lines: Vec<Vec<&str>> =
        told.stdout.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let words: Vec<_> = lines.iter().map(|words| (words[0], words[3])).collect();
    assert_eq!(
        words,
        [
            ("added", "/kubernetes.io/pods/shop/late"),
            ("changed", "/kubernetes.io/pods/shop/web"),
            ("removed", "/kubernetes.io/secrets/shop/sealed"),
        ]
    );
    assert!(told.stderr.contains("1 added, 1 removed, 1 changed"), "{told:?}");
    let (first, second) = (format!("m1.site.test/{night}/etcd"), "m1.site.test/2099-01-01/etcd");
    let words = ["inspect", &first, "diff", second, "--json", "--prefix", "/kubernetes.io/pods/"];
    let rows = json(site.run("m1", &words).unwrap());
    assert_eq!(keys(&rows), ["/kubernetes.io/pods/shop/late", "/kubernetes.io/pods/shop/web"]);
    let absent = ends_with(site.run("m1", &["inspect", "diff", &night, "2098-01-01"]).unwrap(), 1);
    assert!(absent.stderr.contains("no host has an etcd set of both"), "{absent:?}");
}

#[test]
fn a_key_is_shown_as_it_was_and_a_revision_that_is_not_there_is_refused() {
    let file = made("3.4-history");
    let key = "/kubernetes.io/configmaps/team1/map1";
    let rows = json(inspect(&[&file, "history", key, "--json"]));
    let rows = rows.as_array().unwrap();
    let (last, before) = (rows.last().unwrap(), &rows[rows.len() - 2]);
    assert_eq!(last["deleted"], true);
    let deleted = ends_with(inspect(&[&file, "get", key]), 1);
    assert!(deleted.stderr.contains(&format!("deleted in revision {}", last["revision"])), "{deleted:?}");
    let shown = good(inspect(&[&file, "get", key, "--rev", &before["revision"].to_string()]));
    assert!(shown.stdout.starts_with("content "), "{shown:?}");
    let later = ends_with(inspect(&[&file, "get", key, "--rev", "1000000"]), 1);
    assert!(later.stderr.contains("its last revision is 65"), "{later:?}");
    let absent = ends_with(inspect(&[&file, "history", "/not/there"]), 1);
    assert!(absent.stderr.contains("has no key `/not/there`"), "{absent:?}");
}

#[test]
fn damage_is_said_and_ends_with_1() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("snapshot.db");
    shell("gzip -dc \"$1\" > \"$2\"", &[Path::new(&made("3.4-history")), &file]);
    let mut bytes = fs::read(&file).unwrap();
    let length = bytes.len();
    bytes[length - 1] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let wrong = ends_with(inspect(&[file.to_str().unwrap()]), 1);
    assert!(
        wrong.stdout.contains("FINDING") && wrong.stdout.contains("SHA-256 at its end does not match"),
        "{wrong:?}"
    );
    fs::write(&file, b"no database").unwrap();
    let none = ends_with(inspect(&[file.to_str().unwrap(), "keys"]), 1);
    assert!(none.stderr.contains("not an etcd database"), "{none:?}");
    let cut = folder.path().join("cut.db.gz");
    let whole = fs::read(made("3.4-history")).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let cut = ends_with(inspect(&[cut.to_str().unwrap(), "keys"]), 1);
    assert!(cut.stderr.contains("does not unpack to its end"), "{cut:?}");
}

#[test]
fn what_a_question_finds_out_of_damage_is_said_beside_every_answer() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("snapshot.db");
    shell("gzip -dc \"$1\" > \"$2\"", &[Path::new(&made("3.4-history")), &file]);
    let name = file.to_str().unwrap();
    let good = fs::read(&file).unwrap();
    let key = "/kubernetes.io/configmaps/team1/map1";
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&file, &bad).unwrap();
    let packed = folder.path().join("snapshot.db.gz");
    shell("gzip -c \"$1\" > \"$2\"", &[&file, &packed]);
    for what in [name, packed.to_str().unwrap()] {
        for words in [&["keys"][..], &["history", key], &["get", key], &["diff", &made("3.4-history")]] {
            let words =
                if words[0] == "diff" { vec!["diff", what, words[1]] } else { [&[what], words].concat() };
            let told = ends_with(inspect(&words), 1);
            assert!(told.stderr.contains("the SHA-256 at the end does not match the content"), "{told:?}");
            assert!(!told.stderr.contains("cannot be read"), "{told:?}");
        }
    }
    // The leaf with revisions 62 and 63: the page is not where it says.
    let mut bad = good;
    bad[16 * 4096] ^= 1;
    fs::write(&file, &bad).unwrap();
    for (words, why) in [
        (&["get", key][..], "was deleted in revision"),
        (&["get", "/not/there"], "has no key"),
        (&["get", key, "--rev", "1000000"], "has no revision 1000000"),
        (&["history", "/not/there"], "has no key"),
    ] {
        let told = ends_with(inspect(&[&[name], words].concat()), 1);
        assert!(told.stderr.contains("page 16: its header has the page number"), "{told:?}");
        assert!(
            told.stderr.contains(why) && told.stderr.contains("parts of the snapshot are damaged"),
            "{told:?}"
        );
    }
    let left = unread(&[name, "keys"]);
    let told = String::from_utf8_lossy(&left.stderr);
    assert!(
        left.status.code() == Some(1) && told.contains("page 16: its header has the page number"),
        "{left:?}"
    );
}

#[test]
fn words_that_name_nothing_end_with_2_and_say_what_would() {
    for (words, why) in [
        (&["nothing", "keys"][..], "cannot find `nothing`"),
        (&[], "name what to show"),
        (&["diff", "one"], "diff compares two"),
        (&[&made("3.4-few")[..], "get"], "KEY"),
    ] {
        let refused = ends_with(inspect(words), 2);
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    let scratch = ends_with(inspect(&[&made("3.4-few"), "keys", "--scratch", "/not/there"]), 1);
    assert!(scratch.stderr.contains("choose another directory with --scratch"), "{scratch:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let output = unread(&[&made("3.4-history"), "keys"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// `inspect` whose reader goes away at once.
fn unread(words: &[&str]) -> Output {
    let mut child = Command::new(program().unwrap())
        .arg("inspect")
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

/// The night of the set that m1 made, once its daemon is down.
fn night_of_m1(site: &Site) -> String {
    let host = site.host("m1").vault().join("m1.site.test");
    let mut nights = names(&host);
    nights.retain(|name| name.starts_with("20"));
    nights.remove(0)
}

fn inspect_at(site: &Site, what: &str, words: &[&str]) -> Ran {
    site.run("m1", &[&["inspect", what], words].concat()).unwrap()
}

/// Lays a set of what etcd holds now into m1's vault, as if made in another night.
fn a_later_night(site: &Site, night: &str) {
    let host = site.host("m1").vault().join("m1.site.test");
    let (from, to) = (host.join(night_of_m1(site)).join("etcd"), host.join(night).join("etcd"));
    shell("mkdir -p \"$2\" && cp -a \"$1\"/. \"$2\" && rm \"$2/snapshot.db.gz\"", &[&from, &to]);
    let scratch = tempdir().unwrap();
    let (file, _) = saved(site, scratch.path());
    let packed = to.join("snapshot.db.gz");
    shell("gzip -c \"$1\" > \"$2\"", &[&file, &packed]);
    let (raw, packed) = (fs::read(file).unwrap(), fs::read(packed).unwrap());
    let manifest = to.join("manifest.json");
    let mut told: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    told["night"] = night.into();
    told["etcd"]["raw_size"] = raw.len().into();
    told["etcd"]["raw_sha256"] = sha256(&raw).into();
    for item in told["items"].as_array_mut().unwrap() {
        if item["path"] == "snapshot.db.gz" {
            item["size"] = packed.len().into();
            item["sha256"] = sha256(&packed).into();
        }
    }
    fs::remove_file(&manifest).unwrap();
    fs::write(&manifest, serde_json::to_vec(&told).unwrap()).unwrap();
}

#[test]
fn an_encrypted_snapshot_is_shown_with_its_identity_and_other_formats_are_named() {
    let scratch = tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let key = path("key.txt");
    Cmd::new("age-keygen").arg("-o").arg(&key).run().unwrap();
    let recipient = Cmd::new("age-keygen").arg("-y").arg(&key).run().unwrap().text();
    let (snapshot, sealed) = (made("3.4-history"), path("snapshot.db.gz.age"));
    Cmd::new("age").args(["-r", &recipient, "-o"]).arg(&sealed).arg(&snapshot).run().unwrap();
    let shown = json(inspect(&[sealed.to_str().unwrap(), "--identity", key.to_str().unwrap(), "--json"]));
    let plain = json(inspect(&[&snapshot, "--json"]));
    assert_eq!((&shown["sha256"], &shown["facts"]), (&plain["sha256"], &plain["facts"]));
    let refused = inspect(&[sealed.to_str().unwrap()]);
    assert!(refused.code == 2 && refused.stderr.contains("is encrypted"), "{refused:?}");
    for (name, start, what) in [
        ("on-demand.zip", &b"PK\x03\x04...."[..], "a zip archive"),
        ("armored.age", b"-----BEGIN AGE ENCRYPTED FILE-----", "with --armor"),
        ("snapshot.db.xz", b"\xfd7zXZ\0\0\0", "compressed with xz"),
        ("Incr-1.bz2", b"BZh91AY", "compressed with bzip2"),
    ] {
        fs::write(path(name), start).unwrap();
        let refused = inspect(&[path(name).to_str().unwrap()]);
        assert!(refused.code == 2 && refused.stderr.contains(what), "{refused:?}");
    }
    let directory = scratch.path().to_str().unwrap();
    let tar = path("backup.tar.gz");
    Cmd::new("tar").args(["-czf", tar.to_str().unwrap(), "-C", directory, "key.txt"]).run().unwrap();
    let refused = inspect(&[tar.to_str().unwrap()]);
    assert!(
        refused.code == 2 && refused.stderr.contains("a tar archive, but not one of nightshift"),
        "{refused:?}"
    );
}

#[test]
fn an_archive_that_was_renamed_is_recognised_by_its_content() {
    let mut site = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]).build().unwrap();
    site.night().unwrap();
    let archive = archive_in(&site.inbox());
    let renamed = site.inbox().join("m1 latest (1).bin");
    fs::copy(&archive, &renamed).unwrap();
    for command in ["inspect", "verify"] {
        let shown = |path: &Path| {
            let ran = site.run("m1", &[command, path.to_str().unwrap()]).unwrap();
            assert!([0, 3].contains(&ran.code), "{command}: {ran:?}");
            ran.stdout
        };
        assert!(shown(&renamed).contains("m1.site.test"), "{command}");
        assert!(!shown(&archive).is_empty());
    }
    // A browser may decompress what it downloads, under the old name or a new one.
    for name in ["m1.tar".to_owned(), format!("{}", archive.file_name().unwrap().display())] {
        let unpacked = site.host("m1").state().join(name);
        crate::support::shell("gzip -dc \"$1\" > \"$2\"", &[&archive, &unpacked]);
        for command in ["inspect", "verify"] {
            let refused = site.run("m1", &[command, unpacked.to_str().unwrap()]).unwrap();
            assert_eq!(refused.code, 2, "{command}: {refused:?}");
            assert!(refused.stderr.contains("without its compression"), "{command}: {refused:?}");
        }
    }
}
