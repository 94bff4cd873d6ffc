//! A fleet's daily life: a backup of all hosts now, nights that are kept, hosts that left, copies that are verified again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use kit::journal::Journal;
use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::{Plan, Ran, Site};
use serde_json::Value;

use crate::support::{archive_in, ends_with, good, names, night_of, reason, set_folder};

/// An `ssh` that runs the command on the host that listens at the port, as root of a namespace of its own.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do
    [ "$1" = -p ] && port=$2
    shift
done
[ ! -f "$HOSTS/$port.sh" ] || exec sh "$HOSTS/$port.sh"
[ -f "$HOSTS/$port" ] || { echo "ssh: connect to port $port: Connection refused" >&2; exit 255; }
exec unshare -r "$PROGRAM" --config "$(cat "$HOSTS/$port")" restore act
"#;

/// Runs a command with an `ssh` that reaches these hosts.
fn over_ssh(site: &Site, hosts: &[&str], config: &Path, words: &[&str]) -> Ran {
    over_ssh_with(site, hosts, &[], config, words)
}

/// As above; in place of these hosts, a script responds.
fn over_ssh_with(
    site: &Site,
    hosts: &[&str],
    scripts: &[(&str, &str)],
    config: &Path,
    words: &[&str],
) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    for (host, script) in scripts {
        fs::write(directory.path().join(format!("{}.sh", site.host(host).port())), script).unwrap();
    }
    let ssh = directory.path().join("ssh");
    fs::write(&ssh, SSH).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    for host in hosts {
        let host = site.host(host);
        fs::write(directory.path().join(host.port().to_string()), host.config().to_str().unwrap()).unwrap();
    }
    let program = kit::daemon::program().unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(&program);
    command.arg("--config").arg(config).args(words);
    command.env("PATH", path).env("HOSTS", directory.path()).env("PROGRAM", &program);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_backup_now_is_one_extra_night_of_all_hosts_and_names_the_host_that_is_not_reached() {
    if !kit::require(Journal::available()) {
        return;
    }
    let plan = Plan::new(&[
        ("m1", &[Master, Etcd]),
        ("m2", &[Master]),
        ("n1", &[Node]),
        ("n2", &[Node]),
        ("backup", &[BackupServer]),
    ]);
    let mut site = plan.build().unwrap();
    for host in ["m1", "m2", "n1"] {
        site.between_nights(host).unwrap();
        site.start(host).unwrap();
    }
    // One host has an extra night already, so the common one is the second.
    good(site.run("n1", &["run", "night", "--wait"]).unwrap());
    // As on the operator's machine: a copy of the config, which names no host as this one.
    let copy = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(site.host("m1").config()).unwrap();
    let text = text.replace("[this-host]\nname = \"m1.site.test\"\n", "");
    let config = copy.path().join("nightshift.toml");
    fs::write(&config, text).unwrap();
    let words = ["backup", "now", "--wait", "--label", "before-upgrade"];
    let ran = ends_with(over_ssh(&site, &["m1", "m2", "n1"], &config, &words), 3);
    assert!(ran.stderr.contains("n2.site.test: no backup: cannot reach"), "{ran:?}");
    assert!(ran.stdout.contains(".2 on 3 hosts"), "{ran:?}");

    let night = night_of(&site, "m1");
    assert!(night.ends_with(".2"), "{night}");
    for (keeper, maker, role) in
        [("m1", "n1", "node"), ("m2", "n1", "node"), ("m2", "m1", "etcd"), ("m1", "m2", "master")]
    {
        assert!(set_folder(&site, keeper, maker, role).join("manifest.json").exists(), "{maker} on {keeper}");
    }
    let shown = ends_with(site.run("m1", &["nights", &night]).unwrap(), 0).stdout;
    for part in ["backup before-upgrade", "n2.site.test node: missing", "remote backup-server: verified"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let nights = good(site.run("m1", &["nights"]).unwrap()).stdout;
    assert!(nights.contains("  backup before-upgrade"), "{nights}");
    let archives = names(&site.inbox()).into_iter().filter(|name| name.ends_with("-2.tgz"));
    assert_eq!(archives.count(), 2, "{:?}", names(&site.inbox()));

    let none = ends_with(over_ssh(&site, &[], &config, &["backup", "now"]), 1);
    assert!(none.stderr.contains("no host takes part in the backup"), "{none:?}");
    ends_with(site.run("m1", &["backup", "now", "--label", "two words"]).unwrap(), 2);
}

#[test]
fn a_host_with_a_wrong_clock_is_left_out_of_a_backup_and_the_others_run_it() {
    if !kit::require(Journal::available()) {
        return;
    }
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node])]).build().unwrap();
    for host in ["m1", "n1"] {
        site.between_nights(host).unwrap();
        site.start(host).unwrap();
    }
    let wrong = r#"echo '{"done":{"changed":false,"lines":["2031-01-01.1","2031-01-01T03:00:00Z"]}}'"#;
    let config = site.host("m1").config();
    let ran = ends_with(
        over_ssh_with(&site, &["m1", "n1"], &[("n2", wrong)], &config, &["backup", "now", "--wait"]),
        3,
    );
    assert!(ran.stdout.contains(".1 on 2 hosts"), "{ran:?}");
    assert!(ran.stderr.contains("n2.site.test: no backup: it proposes night 2031-01-01.1"), "{ran:?}");
    assert!(ran.stderr.contains("its clock is at 2031-01-01T03:00:00Z"), "{ran:?}");
    assert!(set_folder(&site, "m1", "n1", "node").join("manifest.json").exists());
}

#[test]
fn a_backup_names_a_host_in_whose_place_another_one_responds() {
    if !kit::require(Journal::available()) {
        return;
    }
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Node])]).build().unwrap();
    for host in ["m1", "n1"] {
        site.between_nights(host).unwrap();
        site.start(host).unwrap();
    }
    let config = site.host("m1").config();
    // n2's address leads to n1.
    let other = format!(
        "exec unshare -r \"$PROGRAM\" --config {} restore act",
        site.host("n1").config().to_str().unwrap()
    );
    let words = ["backup", "now", "--wait"];
    let ran = ends_with(over_ssh_with(&site, &["m1", "n1"], &[("n2", &other)], &config, &words), 3);
    let expected = "n2.site.test: no backup: n1.site.test responded in place of n2.site.test";
    assert!(ran.stderr.contains(expected) && ran.stdout.contains(".1 on 2 hosts"), "{ran:?}");
}

/// Stores a set of another night or host, made from one that is there.
fn as_of(site: &Site, from: &Path, host: &str, night: &str) {
    let to = site.host("m1").vault().join(host).join(night).join("node");
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    assert!(Command::new("cp").arg("-a").args([from, &to]).status().unwrap().success());
    let manifest = to.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let text = text.replace(&night_of(site, "m1"), night).replace("n1.site.test", host);
    fs::write(manifest, text).unwrap();
}

fn decision(site: &Site, set: &str) -> String {
    let ran = good(site.run("m1", &["prune", "--dry-run", "--json"]).unwrap());
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let row = rows.iter().find(|row| row["what"] == set).unwrap_or_else(|| panic!("{set} in {rows:#?}"));
    format!("{}: {}", if row["keep"] == true { "keep" } else { "remove" }, row["reason"].as_str().unwrap())
}

#[test]
fn what_a_dry_run_shows_is_what_prune_does_and_a_kept_night_stays() {
    let mut site = Plan::new(&[("m1", &[Master, Etcd]), ("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let tonight = set_folder(&site, "m1", "n1", "node");
    as_of(&site, &tonight, "n1.site.test", "2020-01-01");
    let old = "n1.site.test/2020-01-01/node";
    ends_with(site.run("m1", &["prune"]).unwrap(), 2);
    let kept = decision(&site, &format!("n1.site.test/{}/node", night_of(&site, "m1")));
    assert_eq!(kept, "keep: among the newest 7 nights");
    // The month's night, because there are few.
    let policy = "[vault]\nkeep = { nights = 1, weeks = 0, months = 0 }\n";
    site.drop_in("m1", "50-keep.toml", policy).unwrap();
    assert_eq!(decision(&site, old), "remove: older than the policy keeps (1 nights, 0 weeks, 0 months)");

    let unknown = ends_with(site.run("m1", &["nights", "keep", "2019-01-01"]).unwrap(), 2);
    assert!(unknown.stderr.contains("neither a record nor a set of night 2019-01-01"), "{unknown:?}");
    ends_with(site.run("m1", &["nights", "keep", "2020-01-01", "--until", "2020-02-01"]).unwrap(), 2);
    good(site.run("m1", &["nights", "keep", "2020-01-01", "--until", "2999-12-31"]).unwrap());
    assert_eq!(decision(&site, old), "keep: an operator keeps its night until 2999-12-31");
    let mut daemon = site.host_mut("m1").daemon.take().unwrap();
    assert_eq!(daemon.terminate().unwrap(), 0);
    site.start("m1").unwrap();
    good(site.run("m1", &["run", "prune", "--wait"]).unwrap());
    assert!(site.host("m1").vault().join(old).exists());

    good(site.run("m1", &["nights", "keep", "2020-01-01", "--not"]).unwrap());
    good(site.run("m1", &["run", "prune", "--wait"]).unwrap());
    assert!(!site.host("m1").vault().join(old).exists(), "{}", site.log("m1"));
}

#[test]
fn restore_points_say_where_they_are_and_until_when_they_stay() {
    let mut site =
        Plan::new(&[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])]).build().unwrap();
    site.night().unwrap();
    let night = night_of(&site, "m1");
    let ran = good(site.run("m1", &["nights", "--restore-points", "--json"]).unwrap());
    let points: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let [point] = &points[..] else { panic!("one night: {points:#?}") };
    assert_eq!((&point["night"], &point["grade"]), (&night.clone().into(), &"good".into()));
    assert_eq!(point["masters"], serde_json::json!(["m1.site.test"]));
    assert!(point["remotes"]["backup-server"].is_string() && point["stays"].is_string(), "{point:#}");
    good(site.run("m1", &["nights", "keep", &night]).unwrap());
    let shown = good(site.run("m1", &["nights", "--restore-points"]).unwrap()).stdout;
    assert!(shown.lines().nth(1).unwrap().trim_end().ends_with(" kept"), "{shown}");
    let nights = good(site.run("m1", &["nights"]).unwrap()).stdout;
    assert!(nights.contains("  kept by "), "{nights}");
    // A node knows of no snapshot, and claims nothing.
    let none = good(site.run("n1", &["nights", "--restore-points"]).unwrap()).stdout;
    assert_eq!(none.lines().count(), 1, "{none}");
}

#[test]
fn the_sets_of_a_host_that_left_are_removed_for_an_operator_who_says_yes() {
    let mut site = Plan::new(&[("m1", &[Master]), ("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    as_of(&site, &set_folder(&site, "m1", "n1", "node"), "gone.site.test", "2026-01-01");
    let unsure = ends_with(site.run("m1", &["sets", "forget", "gone.site.test"]).unwrap(), 1);
    assert!(
        unsure.stderr.contains("nothing was removed")
            && unsure.stdout.contains("gone.site.test/2026-01-01/node"),
        "{unsure:?}"
    );
    let listed = ends_with(site.run("m1", &["sets", "forget", "n1.site.test", "--yes"]).unwrap(), 2);
    assert!(listed.stderr.contains("n1.site.test is in the configuration"), "{listed:?}");
    good(site.run("m1", &["sets", "forget", "gone.site.test", "--yes"]).unwrap());
    assert!(!site.host("m1").vault().join("gone.site.test").exists());
    assert!(set_folder(&site, "m1", "n1", "node").exists());
    let (_, status) = site.status("m1").unwrap();
    let pruned = status["night"]["record"]["pruned"].to_string();
    assert!(
        pruned.contains("gone.site.test/2026-01-01/node") && pruned.contains("which left the cluster"),
        "{pruned}"
    );
}

#[test]
fn an_archive_that_changed_on_the_remote_is_found_by_a_later_check() {
    let mut site = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]).build().unwrap();
    site.night().unwrap();
    let archive = archive_in(&site.inbox());
    let known = site.host("m1").state().join("outbox/.backup-server.copies");
    let checked_long_ago = || {
        let mut copies: Value = serde_json::from_slice(&fs::read(&known).unwrap()).unwrap();
        copies["copies"][0]["tried"] = "2020-01-01T00:00:00Z".into();
        fs::write(&known, copies.to_string()).unwrap();
    };
    checked_long_ago();
    good(site.run("m1", &["run", "prune", "--wait"]).unwrap());
    let shown = site.run("m1", &["nights", &night_of(&site, "m1")]).unwrap().stdout;
    assert!(shown.contains("verified again") && shown.contains("verified (SHA-256"), "{shown}");

    // Not again tonight.
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    good(site.run("m1", &["run", "prune", "--wait"]).unwrap());
    checked_long_ago();
    ends_with(site.run("m1", &["run", "prune", "--wait"]).unwrap(), 3);
    let (code, status) = site.status("m1").unwrap();
    assert!(code == 3 && reason(&status, "prune").contains("has SHA-256"), "{}", reason(&status, "prune"));

    fs::remove_file(&archive).unwrap();
    checked_long_ago();
    ends_with(site.run("m1", &["run", "prune", "--wait"]).unwrap(), 3);
    assert!(reason(&site.status("m1").unwrap().1, "prune").contains("it is gone"));
    assert_eq!(fs::read_to_string(&known).unwrap().matches("tried").count(), 0, "it is reported once");
}
