//! Ansible on the operator's machine, and what its recap says of each host.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::lab::cmd::Cmd;
use kit::lab::{Host, tools};

const PLAY: &str = "/usr/share/nightshift/ansible/nightshift.yml";
const DIRECTORY: &str = "/opt/ansible";
/// A play over eight hosts on a machine with two cores.
const TIMEOUT: Duration = Duration::from_secs(600);

pub struct Recap {
    pub status: i32,
    pub printed: String,
    /// What each host counts: `ok`, `changed`, `failed`, …
    hosts: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Recap {
    /// How many tasks of all hosts ended so.
    pub fn count(&self, outcome: &str) -> usize {
        self.hosts.values().map(|counts| counts[outcome]).sum()
    }

    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    fn parse(status: i32, printed: String) -> Self {
        let recap = printed.split("PLAY RECAP").nth(1).unwrap_or_default();
        let hosts = recap.lines().filter_map(|line| {
            let (host, counts) = line.split_once(" : ")?;
            let counts = counts.split_whitespace().filter_map(|count| count.split_once('='));
            let counts = counts.map(|(outcome, count)| (outcome.to_owned(), count.parse().unwrap()));
            Some((host.trim().to_owned(), counts.collect()))
        });
        let hosts = hosts.collect();
        Self { status, printed, hosts }
    }
}

/// Copies the pinned Ansible there, with this inventory.
pub fn install(operator: &Host, inventory: &str) {
    let root = operator.root().join(DIRECTORY.trim_start_matches('/'));
    Cmd::new("cp").arg("-r").arg(tools().join("ansible")).arg(root).run().unwrap();
    operator.write_file(&kit::lab::HostFile::new("/root/site/hosts", 0o600, inventory)).unwrap();
}

/// Runs the play that the package installs.
pub fn play(operator: &Host, words: &str) -> Recap {
    let line = format!(
        "cd /root/site && PYTHONPATH={DIRECTORY} ANSIBLE_PIPELINING=1 ANSIBLE_FORKS=10 python3 {DIRECTORY}/bin/ansible-playbook \
         -i hosts {PLAY} {words}"
    );
    let started = std::time::Instant::now();
    let output = operator.try_run_for(&line, TIMEOUT).unwrap();
    let recap = Recap::parse(output.status, output.text() + "\n" + &output.stderr);
    println!(
        "{words}: {} hosts, ok={} changed={} failed={} unreachable={}, {:.0} s",
        recap.hosts(),
        recap.count("ok"),
        recap.count("changed"),
        recap.count("failed"),
        recap.count("unreachable"),
        started.elapsed().as_secs_f64()
    );
    recap
}
