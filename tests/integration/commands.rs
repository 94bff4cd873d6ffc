//! What the commands say, and how they end.

use std::fs;

use kit::lab::Role::{Agentless, BackupServer, Etcd, Master, Node};
use kit::lab::cmd::Cmd;
use kit::site::Plan;

use crate::support::{ends_with, good, night_of, set_folder, verdict};

#[test]
fn commands_tell_a_good_night_in_the_same_words() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(plan).build().unwrap();
    let plan = good(site.run("m1", &["plan"]).unwrap()).stdout;
    assert!(plan.contains("on m1.site.test (master, etcd): "), "{plan}");
    let row = plan.lines().find(|line| line.starts_with(" pull-nodes")).unwrap();
    assert!(row.ends_with("n1.site.test"), "{row}");
    assert!(plan.contains("root_cron") && plan.contains("backup-server"), "{plan}");
    assert!(!plan.contains("collect-node"), "a master that is no node hands in no node set: {plan}");

    site.night().unwrap();
    let night = night_of(&site, "m1");
    let status = good(site.run("m1", &["status"]).unwrap()).stdout;
    for line in [
        "m1.site.test (master, etcd) of cluster site, daemon 0.1.0".to_owned(),
        format!("night {night}: complete (closes "),
        format!("last complete night: {night}"),
        "next night opens ".to_owned(),
    ] {
        assert!(status.lines().any(|said| said.starts_with(&line)), "{line} in {status}");
    }
    for line in status.lines() {
        assert!(line.chars().count() <= 80, "{line} in {status}");
    }
    for row in ["n1.site.test  node    good", "m1.site.test  etcd    good"] {
        assert!(status.contains(row), "{row} in {status}");
    }
    let nights = good(site.run("m1", &["nights"]).unwrap()).stdout;
    assert!(nights.contains(&night) && nights.contains("complete so far"), "{nights}");
    let one = good(site.run("m1", &["nights", &night]).unwrap()).stdout;
    for part in ["ship-archive", "agreement: ", "drill: ", "remote backup-server: verified"] {
        assert!(one.contains(part), "{part} in {one}");
    }
    let sets = good(site.run("m1", &["sets"]).unwrap()).stdout;
    assert!(sets.contains(&format!("m1.site.test/{night}/etcd")) && sets.contains("revision"), "{sets}");
    let checked = good(site.run("m1", &["check", "--connect"]).unwrap()).stdout;
    for who in [
        "config: m1.site.test (master, etcd) of cluster site, ",
        "etcd: member m1.site.test",
        "n1.site.test: host key matches, login works, ",
        "remote backup-server: ",
    ] {
        assert!(
            checked.lines().any(|line| line.starts_with(who) && line.ends_with(": OK")),
            "{who} in {checked}"
        );
    }
}

#[test]
fn verify_finds_a_byte_that_changed_on_disk_and_names_its_file() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let set = set_folder(&site, "n1", "n1", "node");
    fs::write(set.join("root_cron"), "0 0 * * * /usr/bin/evil\n").unwrap();
    let found = ends_with(site.run("n1", &["verify"]).unwrap(), 1);
    assert!(found.stdout.contains("BAD") && found.stdout.contains("root_cron"), "{found:?}");
}

#[test]
fn wishes_that_cannot_be_granted_are_refused_by_name() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let refused = ends_with(site.run("n1", &["run", "pull-etcd"]).unwrap(), 2);
    assert!(
        refused.stderr.contains("pull-etcd does not run on this host, whose roles are: node"),
        "{refused:?}"
    );
    let unknown = ends_with(site.run("n1", &["run", "pull-everything"]).unwrap(), 2);
    assert!(unknown.stderr.contains("unknown stage `pull-everything`"), "{unknown:?}");
    ends_with(site.run("n1", &["nonsense"]).unwrap(), 2);
    let missing = ends_with(site.run("n1", &["verify", "missing.tgz"]).unwrap(), 2);
    assert!(missing.stderr.contains("missing.tgz is neither a file here nor a set"), "{missing:?}");
    ends_with(site.run("n1", &["check", "--connect", "--show"]).unwrap(), 2);
    let again = good(site.run("n1", &["run", "collect-node", "--wait"]).unwrap());
    assert!(again.stdout.contains("collect-node done"), "{again:?}");
}

#[test]
fn a_suspicious_set_is_accepted_by_the_daemon_for_whoever_says_yes() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.night().unwrap();
    let manifest = set_folder(&site, "n1", "n1", "node").join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"grade\": \"good\"", "\"grade\": \"suspicious\"")).unwrap();
    let set = format!("n1.site.test/{}/node", night_of(&site, "n1"));
    let listed = good(site.run("n1", &["sets"]).unwrap()).stdout;
    assert!(listed.contains("suspicious"), "{listed}");

    let unsure = ends_with(site.run("n1", &["sets", "accept", &set]).unwrap(), 1);
    assert!(unsure.stderr.contains("nothing was accepted"), "{unsure:?}");
    let accepted = good(site.run("n1", &["sets", "accept", &set, "--yes"]).unwrap()).stdout;
    assert!(accepted.contains("it now counts as a good copy"), "{accepted}");
    let listed = good(site.run("n1", &["sets"]).unwrap()).stdout;
    assert!(listed.contains("good, accepted"), "{listed}");
    let again = ends_with(site.run("n1", &["sets", "accept", &set, "--yes"]).unwrap(), 1);
    assert!(again.stderr.contains("only a suspicious or diverged set"), "{again:?}");
    ends_with(site.run("n1", &["sets", "accept", "n2/2026-11-22/node", "--yes"]).unwrap(), 1);
    ends_with(site.run("n1", &["sets", "accept", "nonsense"]).unwrap(), 2);
}

#[test]
fn a_command_whose_output_cannot_be_written_has_failed() {
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    let run = |words: &[&str], stdout: fs::File| {
        let mut command = std::process::Command::new(kit::daemon::program().unwrap());
        command.arg("--config").arg(site.host("n1").config()).args(words);
        command.stdout(stdout).output().unwrap()
    };
    for words in
        [&["plan"][..], &["plan", "--json"], &["check", "--show"], &["sets"], &["--help"], &["--version"]]
    {
        let full = run(words, fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let reason = String::from_utf8_lossy(&full.stderr).into_owned();
        assert_eq!(full.status.code(), Some(1), "{words:?}: {reason}");
        assert!(reason.contains("cannot write to standard output: No space left on device"), "{reason}");
        // The reader of a pipe may end early.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = run(words, fs::File::from(std::os::fd::OwnedFd::from(writer)));
        assert_eq!(closed.status.code(), Some(0), "{words:?}: {closed:?}");
    }
}

#[test]
fn a_secret_in_the_arguments_is_not_printed() {
    let site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    for words in [&["plan", "--night", "AGE-SECRET-KEY-1HUNTER2"][..], &["run", "x", "--password=HUNTER2"]] {
        let refused = ends_with(site.run("n1", words).unwrap(), 2);
        assert!(
            !refused.stderr.contains("HUNTER2") && refused.stderr.contains("For more information"),
            "{refused:?}"
        );
    }
}

#[test]
fn authorize_names_the_hosts_that_need_another_line() {
    let site = Plan::new(&[("m1", &[Master]), ("n1", &[Node]), ("n2", &[Agentless])]).build().unwrap();
    let printed = good(site.run("m1", &["keys", "authorize"]).unwrap());
    assert!(
        printed.stderr.contains("(nightshift keys authorize --agentless): n2.site.test\n"),
        "{printed:?}"
    );
    assert_eq!(printed.stdout.lines().count(), 1, "{printed:?}");
}

#[test]
fn a_file_that_a_configuration_names_and_no_set_contains_is_reported_and_degrades_nothing() {
    let mut site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    let path = site.source("m1", "/etc/origin/htpasswd");
    let config = format!("kind: MasterConfig\noauthConfig:\n  provider:\n    file: {}\n", path.display());
    site.lay("m1", "/etc/origin/master/master-config.yaml", config.as_bytes()).unwrap();
    site.lay("m1", "/etc/origin/htpasswd", b"alice:x\n").unwrap();
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (0, "complete"), "{:#}", status["night"]["reasons"]);
    let set = format!("m1.site.test/{}/master", night_of(&site, "m1"));
    let note = format!("{} is in no set of this host, but ", path.display());
    for words in [&["inspect", &set][..], &["check"]] {
        let shown = good(site.run("m1", words).unwrap()).stdout;
        assert!(shown.contains(&note) && !shown.contains("Ansible"), "{shown}");
    }
}

#[test]
fn completions_offer_no_internal_commands() {
    let directory = tempfile::tempdir().unwrap();
    let program = kit::daemon::program().unwrap();
    Cmd::new(program).arg("generate").arg(directory.path()).run().unwrap();
    let files: Vec<_> = fs::read_dir(directory.path().join("completions")).unwrap().collect();
    assert_eq!(files.len(), 3);
    for file in files {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("inspect") && text.contains("accept"), "{text}");
        assert!(!text.contains("drill-worker") && !text.contains("drill-etcd"), "{text}");
    }
}
