//! The config of a site's hosts: a night around now, and the runbook's files as the shipped example lists them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use toml::{Table, Value};

use crate::etcd::Release;
use crate::lab::{Error, Result, Role};

/// The stages of a night, in order.
pub const STAGES: [&str; 10] = [
    "snapshot-etcd",
    "collect-node",
    "pull-etcd",
    "pull-nodes",
    "collect-master",
    "mirror-masters",
    "pack-archive",
    "ship-archive",
    "drill",
    "prune",
];

const EXAMPLE: &str = include_str!("../../config/examples/runbook.toml");
const DAY: i64 = 24 * 60;

/// The clock that a site's hosts live by. Two that are far enough apart have different dates at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Utc,
    /// Twelve hours behind UTC.
    West,
    /// Fourteen hours ahead of it: always on a later date than `West`.
    East,
}

impl Zone {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::West => "Etc/GMT+12",
            Self::East => "Etc/GMT-14",
        }
    }

    const fn offset(self) -> i64 {
        match self {
            Self::Utc => 0,
            Self::West => -12 * 60,
            Self::East => 14 * 60,
        }
    }

    /// The minutes since 1970-01-01 00:00 by this clock.
    fn now(self) -> i64 {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        i64::try_from(seconds / 60).unwrap_or_default() + self.offset()
    }

    /// The time of day so many minutes from now: hour and minute.
    fn in_minutes(self, minutes: i64) -> (i64, i64) {
        let minute = (self.now() + minutes).rem_euclid(DAY);
        (minute / 60, minute % 60)
    }

    /// As `opens` and `until` have it.
    pub fn clock(self, minutes: i64) -> String {
        let (hour, minute) = self.in_minutes(minutes);
        format!("{hour:02}:{minute:02}")
    }

    /// As `at` has it.
    pub fn crontab(self, minutes: i64) -> String {
        let (hour, minute) = self.in_minutes(minutes);
        format!("{minute} {hour} * * *")
    }

    /// As `at` has it: this minute, on another day of the week.
    pub fn crontab_in_three_days(self) -> String {
        let (hour, minute) = self.in_minutes(0);
        // 1970-01-01 was a Thursday, the day 4 of crontab(5).
        let weekday = (self.now() / DAY + 4 + 3).rem_euclid(7);
        format!("{minute} {hour} * * {weekday}")
    }
}

/// A host as the others' config names it.
pub(crate) struct Known<'a> {
    pub name: &'a str,
    pub roles: &'a [Role],
    /// Where it is reached: its sshd, or the proxy before it.
    pub port: u16,
    /// Its vault, or nothing where it has no daemon.
    pub state: &'a Path,
}

/// What a host's config is made of.
pub(crate) struct Facts<'a> {
    pub this: &'a str,
    pub user: &'a str,
    pub zone: Zone,
    pub known: &'a [Known<'a>],
    pub folder: &'a Path,
    pub run: &'a Path,
    pub known_hosts: &'a Path,
    /// Below it lie the files that are collected, each at the place where a real host has it.
    pub sources: &'a Path,
    pub etcd: Option<&'a str>,
    pub recipients: &'a [String],
    /// A folder on the backup server and the port of its sshd.
    pub remote: Option<(&'a Path, u16)>,
}

/// A night that opened ten minutes ago, with all its stages due.
pub(crate) fn text(facts: &Facts<'_>) -> Result<String> {
    let zone = facts.zone;
    let folder = facts.folder.display();
    let mut text = format!(
        "version = 1\n\n\
         [cluster]\nname = \"site\"\n\n\
         [this-host]\nname = \"{this}\"\n\n\
         [hosts]\nmasters = {masters}\netcd = {etcd}\nnodes = {nodes}\n\n\
         [night]\nopens = \"{opens}\"\ncloses = \"{closes}\"\ntime-zone = \"{zone}\"\ntrust-clock = true\n\n\
         [vault]\nmin-free = \"1MiB\"\n\n\
         [ssh]\nuser = \"{user}\"\nidentity = \"{folder}/id_ed25519\"\nknown-hosts = \"{known_hosts}\"\n\
         host-key = \"{folder}/sshd/host_key\"\nconnect-timeout = \"5s\"\n\n\
         [paths]\nstate = \"{folder}/state\"\nrun = \"{run}\"\nconfig = \"{folder}/etc\"\n\n",
        this = facts.this,
        masters = names(facts, |role| role == Role::Master),
        etcd = names(facts, |role| role == Role::Etcd),
        nodes = names(facts, |role| matches!(role, Role::Node | Role::Agentless)),
        opens = zone.clock(-10),
        closes = zone.clock(4 * 60),
        zone = zone.name(),
        user = facts.user,
        known_hosts = facts.known_hosts.display(),
        run = facts.run.display(),
    );
    for stage in STAGES {
        let at = zone.crontab(-5);
        let until = if waits(stage) { format!("until = \"{}\"\n", zone.clock(10)) } else { String::new() };
        let _ = writeln!(text, "[stage.{stage}]\nat = \"{at}\"\njitter = \"0s\"\nbackoff = \"1s\"\n{until}");
    }
    for host in facts.known {
        let agentless = if host.roles.contains(&Role::Agentless) {
            format!("agentless = true\nuser = \"{}\"\n", facts.user)
        } else {
            format!("vault = \"{}/vault\"\n", host.state.display())
        };
        let _ = writeln!(
            text,
            "[host.\"{}\"]\naddress = \"127.0.0.1\"\nport = {}\n{agentless}",
            host.name, host.port
        );
    }
    if let Some(endpoint) = facts.etcd {
        let conf = facts.sources.join("etc/etcd/etcd.conf");
        let _ = writeln!(text, "[etcd]\nendpoint = \"{endpoint}\"\nconf = {conf:?}\n");
    }
    if let Some(tools) = Release::default().folder() {
        let _ = writeln!(text, "[drill]\netcd-tools = {tools:?}\n");
    }
    text.push_str(&archive(facts));
    text.push_str(&files(facts.sources)?);
    Ok(text)
}

fn names(facts: &Facts<'_>, wanted: impl Fn(Role) -> bool) -> String {
    let names: Vec<&str> = (facts.known.iter())
        .filter(|host| host.roles.iter().any(|role| wanted(*role)))
        .map(|host| host.name)
        .collect();
    format!("{names:?}")
}

/// Whether a stage waits for other hosts, and so has an `until`.
pub fn waits(stage: &str) -> bool {
    stage.starts_with("pull-") || stage.starts_with("mirror-") || stage == "drill"
}

fn archive(facts: &Facts<'_>) -> String {
    let sealed = if facts.recipients.is_empty() {
        "plaintext = true".to_owned()
    } else {
        format!("recipients = {:?}", facts.recipients)
    };
    let remote = facts.remote.map(|(path, port)| {
        format!(
            "[[remote]]\nname = \"backup-server\"\nurl = \"sftp://{}@127.0.0.1:{port}{}\"\n\
             identity = \"{}/id_backup_server\"\n\n",
            facts.user,
            path.display(),
            facts.folder.display()
        )
    });
    format!("[archive]\n{sealed}\n\n{}", remote.unwrap_or_default())
}

/// The file lists of the shipped runbook example, with every path below `sources`.
fn files(sources: &Path) -> Result<String> {
    let unreadable = |error: &dyn std::fmt::Display| Error::Refused(format!("the runbook example: {error}"));
    let mut example: Table = EXAMPLE.parse().map_err(|error: toml::de::Error| unreadable(&error))?;
    let mut files = Table::new();
    if let Some(lists) = example.remove("files") {
        files.insert("files".to_owned(), below(lists, sources));
    }
    toml::to_string(&files).map_err(|error| unreadable(&error))
}

fn below(value: Value, sources: &Path) -> Value {
    match value {
        Value::String(path) if path.starts_with('/') => Value::String(format!("{}{path}", sources.display())),
        Value::Array(list) => Value::Array(list.into_iter().map(|value| below(value, sources)).collect()),
        Value::Table(table) => {
            Value::Table(table.into_iter().map(|(key, value)| (key, below(value, sources))).collect())
        }
        other => other,
    }
}
