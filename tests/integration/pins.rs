//! Host keys of many hosts at once: from another known_hosts file, and by a list of fingerprints. And the lines for all hosts.

use std::fs;
use std::path::{Path, PathBuf};

use kit::lab::Role::{Agentless, BackupServer, Master, Node};
use kit::site::{Plan, Site};
use serde_json::{Value, json};

use crate::support::{ends_with, good, shell};

/// A master without pins, two nodes and a remote; and what the kit had pinned.
fn unpinned() -> (Site, String) {
    let plan: &[(&str, &[_])] =
        &[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node]), ("backup", &[BackupServer])];
    let site = Plan::new(plan).build().unwrap();
    let pins = fs::read_to_string(site.known_hosts()).unwrap();
    fs::write(site.known_hosts(), "# none yet\n").unwrap();
    (site, pins)
}

fn file(site: &Site, text: &str) -> PathBuf {
    let path = site.host("m1").state().with_file_name("theirs");
    fs::write(&path, text).unwrap();
    path
}

fn fingerprint(site: &Site, host: &str) -> String {
    let key = site.host(host).sshd.host_key().with_extension("pub");
    shell("ssh-keygen -lf \"$1\" | cut -d' ' -f2", &[&key]).trim().to_owned()
}

fn lines_of(pins: &str, hosts: &[&str]) -> String {
    let is_of = |line: &&str| hosts.iter().any(|host| line.contains(&format!("[{host}.site.test]")));
    pins.lines().filter(is_of).map(|line| format!("{line}\n")).collect()
}

fn words<'a>(option: &'a str, file: &'a Path, hosts: &[&'a str]) -> Vec<&'a str> {
    [&["trust", option, file.to_str().unwrap()][..], hosts].concat()
}

#[test]
fn keys_are_taken_from_a_known_hosts_file_with_hashed_names_and_the_hosts_without_one_are_named() {
    let (site, pins) = unpinned();
    let theirs = file(&site, &(lines_of(&pins, &["n1", "backup"]) + "other.example.com ssh-dss AAAA\n"));
    shell("ssh-keygen -q -H -f \"$1\" && rm \"$1.old\"", &[&theirs]);
    assert!(!fs::read_to_string(&theirs).unwrap().contains("site.test"));
    let trust = words("--known-hosts", &theirs, &[]);
    let first = ends_with(site.run("m1", &trust).unwrap(), 3);
    assert!(first.stdout.contains("n1.site.test: new key ssh-ed25519 SHA256:"), "{first:?}");
    assert!(first.stdout.contains("2 of 3 hosts newly pinned in "), "{first:?}");
    assert!(first.stderr.contains("has no key for: n2.site.test; compare and pin"), "{first:?}");
    let pinned = fs::read_to_string(site.known_hosts()).unwrap();
    assert!(pinned.starts_with("# none yet\n[n1.site.test]:") && pinned.lines().count() == 3, "{pinned}");
    let again = ends_with(site.run("m1", &trust).unwrap(), 3);
    assert!(again.stdout.contains("is already pinned") && again.stdout.contains("0 of 3 hosts"), "{again:?}");
    assert_eq!(fs::read_to_string(site.known_hosts()).unwrap(), pinned);
    good(site.run("m1", &words("--known-hosts", &theirs, &["n1.site.test"])).unwrap());
}

#[test]
fn a_known_hosts_file_replaces_no_pin_and_unrevokes_no_key() {
    let (mut site, pins) = unpinned();
    fs::write(site.known_hosts(), &pins).unwrap();
    site.host_mut("n1").sshd.change_host_key().unwrap();
    let key = site.host("n1").sshd.public_key().unwrap();
    let port = site.host("n1").sshd.port;
    let theirs = file(&site, &format!("[n1.site.test]:{port} {key}\n"));
    let trust = words("--known-hosts", &theirs, &["n1.site.test"]);
    let refused = ends_with(site.run("m1", &trust).unwrap(), 1);
    assert!(refused.stderr.contains("is NOT the pinned key"), "{refused:?}");
    assert!(refused.stderr.contains("trust --replace n1.site.test"), "{refused:?}");
    assert_eq!(fs::read_to_string(site.known_hosts()).unwrap(), pins);
    let replaced = good(site.run("m1", &[&trust[..], &["--replace"]].concat()).unwrap());
    assert!(replaced.stdout.contains("1 key kept as former"), "{replaced:?}");
    assert!(fs::read_to_string(site.known_hosts()).unwrap().contains(&key));

    let revoked = format!("@revoked * {key}\n");
    fs::write(site.known_hosts(), &revoked).unwrap();
    let refused = ends_with(site.run("m1", &trust).unwrap(), 1);
    assert!(refused.stderr.contains("is REVOKED"), "{refused:?}");
    fs::write(site.known_hosts(), "").unwrap();
    fs::write(&theirs, format!("{revoked}[n1.site.test]:{port} {key}\n")).unwrap();
    ends_with(site.run("m1", &trust).unwrap(), 3);
    assert_eq!(fs::read_to_string(site.known_hosts()).unwrap(), "");
    fs::write(&theirs, "n1.site.test\n").unwrap();
    let broken = ends_with(site.run("m1", &trust).unwrap(), 1);
    assert!(broken.stderr.contains("theirs:1: this line has a host without a key"), "{broken:?}");
}

#[test]
fn further_keys_of_a_pinned_host_and_odd_lines_of_other_hosts_are_no_contradiction() {
    let (site, pins) = unpinned();
    fs::write(site.known_hosts(), &pins).unwrap();
    let made = site.host("m1").state().with_file_name("another");
    shell("ssh-keygen -q -t ecdsa -N '' -f \"$1\"", &[&made]);
    let port = site.host("n1").port();
    let further = fs::read_to_string(made.with_extension("pub")).unwrap();
    let odd = "legacyhost 1024 35 123\nother ssh-ed25519 AAAA\n";
    let theirs = file(&site, "");
    let text = format!("{odd}{}[n1.site.test]:{port} {further}", lines_of(&pins, &["n1"]));
    // The comment of an editor that writes Latin-1.
    fs::write(&theirs, [text.as_bytes(), b"# f\xfcr uns\n"].concat()).unwrap();
    let trust = words("--known-hosts", &theirs, &["n1.site.test"]);
    let kept = good(site.run("m1", &trust).unwrap());
    assert!(kept.stdout.contains("of another type than the pinned key, and not pinned"), "{kept:?}");
    assert!(kept.stderr.contains("skipped 2 invalid lines of other hosts"), "{kept:?}");
    assert_eq!(fs::read_to_string(site.known_hosts()).unwrap(), pins);
    // Without the pinned one, it may be the key of another host.
    fs::write(&theirs, format!("[n1.site.test]:{port} {further}")).unwrap();
    let refused = ends_with(site.run("m1", &trust).unwrap(), 1);
    assert!(refused.stderr.contains("is NOT the pinned key"), "{refused:?}");
    assert_eq!(fs::read_to_string(site.known_hosts()).unwrap(), pins);
}

#[test]
fn a_host_is_pinned_only_if_it_shows_the_key_with_its_listed_fingerprint() {
    let (site, _) = unpinned();
    let right = format!(
        "# node 1\nn1.site.test {}\n127.0.0.1 {}\n",
        fingerprint(&site, "n1"),
        fingerprint(&site, "backup")
    );
    let wrong = format!("SHA256:{}", "A".repeat(43));
    let listed = file(&site, &format!("{right}N2.site.test {wrong}\n"));
    let trust = words("--fingerprints", &listed, &[]);
    let mixed = ends_with(site.run("m1", &trust).unwrap(), 1);
    let reason = format!("n2.site.test: none of its new keys has the fingerprint {wrong}; nothing pinned");
    assert!(mixed.stderr.contains(&reason), "{mixed:?}");
    let pinned = fs::read_to_string(site.known_hosts()).unwrap();
    assert!(pinned.contains("[n1.site.test]:") && !pinned.contains("n2.site.test"), "{pinned}");

    fs::write(&listed, &right).unwrap();
    let partial = ends_with(site.run("m1", &trust).unwrap(), 3);
    assert!(partial.stderr.contains("has no line for: n2.site.test"), "{partial:?}");
    assert!(partial.stdout.contains("is already pinned"), "{partial:?}");
    fs::write(&listed, format!("{right}n2.site.test {}\n", fingerprint(&site, "n2"))).unwrap();
    good(site.run("m1", &trust).unwrap());
    assert!(fs::read_to_string(site.known_hosts()).unwrap().contains("[n2.site.test]:"));
    fs::write(&listed, "n1.site.test MD5:aa\n").unwrap();
    let bad = ends_with(site.run("m1", &trust).unwrap(), 2);
    assert!(bad.stderr.contains("theirs:1: expected a fingerprint that begins with SHA256:"), "{bad:?}");
}

#[test]
fn authorize_all_prints_the_file_and_the_line_of_every_host_and_remote() {
    let plan: &[(&str, &[_])] =
        &[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Agentless]), ("backup", &[BackupServer])];
    let site = Plan::new(plan).build().unwrap();
    site.drop_in(
        "m1",
        "60-user.toml",
        "[ssh]\nuser = \"nightshift-peer\"\n[host.\"n2.site.test\"]\nuser = \"root\"\n",
    )
    .unwrap();
    let printed = good(site.run("m1", &["keys", "authorize", "--all"]).unwrap());
    let lines: Vec<&str> = printed.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{printed:?}");
    assert_eq!(lines[0], "# n1.site.test: /var/lib/nightshift-peer/.ssh/authorized_keys");
    assert!(
        lines[1].contains("restrict,command=\"internal-sftp -R -l INFO -f AUTHPRIV\" ssh-ed25519 "),
        "{}",
        lines[1]
    );
    assert!(lines[2].starts_with("# n2.site.test: ~root/.ssh/authorized_keys (with it, "), "{}", lines[2]);
    assert!(lines[3].contains("restrict,command=\"internal-sftp -R\" ssh-ed25519 "), "{}", lines[3]);
    assert!(
        lines[4].starts_with("# remote backup-server: ~")
            && lines[4].ends_with("/.ssh/authorized_keys on 127.0.0.1")
    );
    let one = |words: &[&str]| good(site.run("m1", words).unwrap()).stdout;
    assert_eq!(one(&["keys", "authorize"]).trim_end(), lines[1]);
    assert_eq!(one(&["keys", "authorize", "--agentless"]).trim_end(), lines[3]);
    assert_eq!(one(&["keys", "authorize", "--remote", "backup-server"]).trim_end(), lines[5]);

    let json: Value = serde_json::from_str(&one(&["keys", "authorize", "--all", "--json"])).unwrap();
    let found = json["lines"].as_array().unwrap();
    assert_eq!((json["master"].as_bool(), found.len()), (Some(true), 3), "{json:#}");
    for (item, line) in found.iter().zip([lines[1], lines[3], lines[5]]) {
        assert_eq!(item["line"], line);
    }
    assert_eq!((&found[1]["name"], &found[1]["agentless"]), (&"n2.site.test".into(), &true.into()));
    assert_eq!(found[1]["file"], "~root/.ssh/authorized_keys");
    assert_eq!((&found[2]["kind"], &found[2]["address"]), (&"remote".into(), &"127.0.0.1".into()));
    for (words, at) in [(&[][..], 0), (&["--agentless"], 1), (&["--remote", "backup-server"], 2)] {
        let part: Value =
            serde_json::from_str(&one(&[&["keys", "authorize", "--json"], words].concat())).unwrap();
        assert_eq!(part["lines"], json!([found[at]]), "{words:?}");
    }
    let of_node = good(site.run("n1", &["keys", "authorize", "--all", "--json"]).unwrap()).stdout;
    assert_eq!(serde_json::from_str::<Value>(&of_node).unwrap(), json!({ "master": false, "lines": [] }));
    let of_node = good(site.run("n1", &["keys", "authorize", "--all"]).unwrap()).stdout;
    assert!(of_node.starts_with("n1.site.test is not a master and needs no SSH key"), "{of_node}");
}
