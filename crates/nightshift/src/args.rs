//! The command line. Help, man pages and completions are generated from here.

mod restore;
mod setup;
mod stored;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nightshift_core::name::{HookName, HostName, RemoteName, TargetName};
use nightshift_core::night::Night;
use nightshift_core::set_path::SetId;

use crate::commands::CommandError;
pub use restore::{Cluster, Login, Origin, Restore, RestoreFile, RestoreObject, RestorePlan};
pub use setup::{Init, InitFrom, Trust};
pub use stored::{Backup, BackupNow, Nights, Sets};

/// The config file of the installed service.
pub const DEFAULT_CONFIG: &str = "/etc/nightshift/nightshift.toml";

/// Backs up a cluster's control plane every night.
///
/// Every master, etcd member and node publishes the files needed to rebuild it. Every master has a copy of all of them and
/// ships an encrypted archive off site. Drills prove that the backup restores. Each host has one daemon and one config file.
#[derive(Debug, Parser)]
#[command(name = "nightshift", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 success, 1 failed, 2 usage error, 3 degraded or stale, 75 not possible now (busy, no night open, daemon not running), 77 permission denied, 78 invalid config"
)]
pub struct Cli {
    /// The config file; its drop-ins are in conf.d/ beside it
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the schedule (started by systemd)
    Daemon {
        /// As root: become this user, with CAP_DAC_READ_SEARCH alone (for systemd before version 229)
        #[arg(long, value_name = "USER", hide = true)]
        user: Option<String>,
    },
    /// Check the config, and with --connect also peers, remotes and etcd
    Check(Check),
    /// Show the plan of a night on this host: stages, times, peers, files
    Plan {
        /// The night's date, such as 2026-11-22 [default: tonight]
        #[arg(long)]
        night: Option<Night>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Show the current or last night, the last complete night, and whether backups are stale
    ///
    /// `nightshift nights NIGHT` shows the details. Exit code 3 means that an operator should look: the daemon does not run, a
    /// night is due and does not open, the last night is not complete, or it is too old.
    Status(Status),
    /// Print the metrics of this host for Prometheus
    ///
    /// They are complete also if the daemon does not run. nightshift-metrics.socket serves them over HTTP, and with
    /// `[metrics] textfile` the daemon writes them for node_exporter.
    Metrics,
    /// Show what waits for each target of notifications, or test one
    ///
    /// Targets are those of `[[notify]]` in the config. A test goes the way of every notice: through nightshift-notify.socket, which
    /// only root and the daemon can use.
    Notify(Notify),
    /// List the hooks with their last results, or run one as a test
    ///
    /// Hooks are those of `[[hook]]` in the config. A test runs the program as in a night, through nightshift-hook.socket, which only
    /// root and the daemon can use. It changes no record.
    Hook {
        /// Run this hook now
        #[arg(long, value_name = "NAME")]
        test: Option<HookName>,
    },
    /// Start stages now, or the whole night
    ///
    /// In the open night, `run night` starts everything that still waits. If no night is open, it opens an extra night, such
    /// as 2026-11-22.1, and creates this host's sets; masters pull them with `run pull-etcd --night 2026-11-22.1`. A night
    /// of the schedule closes the extra night when it opens; `nights close` closes it before. `run ship-archive` also works
    /// between two nights, on what is in the outbox.
    Run(Run),
    /// Back up the whole cluster now, in an extra night on all hosts
    #[command(subcommand)]
    Backup(Backup),
    /// Reload the configuration, or print why it is invalid
    Reload,
    /// List the recorded nights, show one of them in detail, keep one from being pruned, or close an extra night
    ///
    /// The list shows until when the policy keeps what this host has of each night, if a good night follows each day.
    #[command(args_conflicts_with_subcommands = true)]
    Nights {
        #[command(subcommand)]
        command: Option<Nights>,
        /// The night to show, such as 2026-11-22
        #[arg(conflicts_with = "restore_points")]
        night: Option<Night>,
        /// List the nights with an etcd snapshot: time, size, where it is, whether a drill proved it, and until when it is kept
        #[arg(long)]
        restore_points: bool,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// List the sets in this host's vault, accept one as good, or forget a host that left
    #[command(args_conflicts_with_subcommands = true)]
    Sets {
        #[command(subcommand)]
        command: Option<Sets>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Show what pruning would remove now, and why it keeps the rest
    ///
    /// Every night the stage `prune` removes what the policy (`keep`) no longer keeps; `nightshift run prune` does it at once, while a
    /// night is open. Exit code 3: a set or a remote could not be checked; nothing of it is removed.
    Prune {
        /// Change nothing
        #[arg(long, required = true)]
        dry_run: bool,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Verify stored sets and archives again: hashes, snapshots, signatures
    ///
    /// It prints for each what was checked. Exit codes: 0 all is verified, 1 something is bad, 3 something is unchecked, such as
    /// a signature without a pinned key.
    Verify(Verify),
    /// Restore a stored etcd snapshot into a scratch etcd and prove that it works
    ///
    /// Without SET, the best set of the newest night is used. Exit codes: 0 the copy is proved, 1 it does not restore,
    /// 3 the drill could not be run, so nothing is proved.
    Drill(Drill),
    /// Show the content of a set, an archive or a snapshot: files, keys, an object, or the difference of two nights
    ///
    /// It reads the vault and files directly, without the daemon. Compressed snapshots are unpacked into a scratch
    /// directory. In a terminal, the output is shown with $PAGER, or with less.
    Inspect(Inspect),
    /// Rebuild a cluster from an archive, or from the vault of a surviving master
    ///
    /// `plan` reads and verifies everything and prints the plan on one page; it changes nothing. `check` shows whether the machines
    /// are ready. `apply` stops what runs, restores etcd, the nodes and the masters, and starts them. If it is interrupted, the same
    /// command continues.
    #[command(subcommand)]
    Restore(Restore),
    /// Print a first config, filled in from an Ansible inventory, from a cluster's list of nodes, or for this host
    ///
    /// It is the commented config that the package installs. Each value that was filled in has a comment that says where it is
    /// from. Of an inventory only names, addresses and ports are used; passwords are not read.
    Init(Init),
    /// Create SSH keys, and print the lines that authorize them
    #[command(subcommand)]
    Keys(Keys),
    /// Show the host keys of hosts, and pin them
    Trust(Trust),
    /// Make or recover a cold copy (started by systemd)
    #[command(hide = true, subcommand)]
    ColdCopy(ColdCopy),
    /// Write man pages, completions, the journal's message catalog, alert rules and the board
    #[command(hide = true)]
    Generate { directory: PathBuf },
    /// Run one drill: the job is on standard input (started by the daemon and the drill's unit)
    #[command(hide = true)]
    DrillWorker {
        /// The process whose end also ends this one
        #[arg(long)]
        parent: Option<u32>,
    },
    /// Execute a program that is killed when the parent ends
    #[command(hide = true)]
    DrillEtcd {
        #[arg(long)]
        parent: u32,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Answer one HTTP request on standard input with the metrics (started by systemd)
    #[command(hide = true)]
    MetricsServe {
        /// The status report that the daemon wrote
        report: PathBuf,
    },
    /// Write in the files of metrics that the daemon has ended (started by systemd)
    #[command(hide = true)]
    MetricsStopped,
    /// Send one notice that comes over standard input (started by systemd)
    #[command(hide = true)]
    NotifySend,
    /// Run one hook, whose name comes over standard input (started by systemd)
    #[command(hide = true)]
    HookRun,
    /// Remove scratch directories of killed drills
    #[command(hide = true)]
    DrillSweep { scratch: PathBuf },
}

/// How the status is shown; by default as text.
#[derive(Debug, Args)]
pub struct Status {
    #[arg(long, help = JSON, group = "shown")]
    pub json: bool,
    /// Print it as a plugin of Nagios, Icinga or Zabbix does, with exit code 0 OK, 1 warning, 2 critical, 3 unknown
    #[arg(long, group = "shown")]
    pub plugin: bool,
    /// Print one line, for the banner of a login
    #[arg(long, group = "shown")]
    pub line: bool,
    /// Repaint it every two seconds, until Ctrl-C
    #[arg(long, group = "shown")]
    pub watch: bool,
}

const JSON: &str = "Print JSON";

#[derive(Debug, Args)]
pub struct Notify {
    /// Send a test to this target
    #[arg(long, value_name = "NAME")]
    pub test: Option<TargetName>,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Also connect to every peer and remote, and query the local etcd member
    #[arg(long)]
    pub connect: bool,
    /// Print the effective settings, each with its origin
    #[arg(long, conflicts_with = "connect")]
    pub show: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Stages such as pull-etcd, or `night` for all of them
    #[arg(required = true, value_name = "STAGE|night")]
    pub what: Vec<String>,
    /// Wait for completion and print the results
    #[arg(long)]
    pub wait: bool,
    /// The extra night in which they run, of today or yesterday
    #[arg(long)]
    pub night: Option<Night>,
    /// Make another set if tonight's exists: snapshot-etcd, collect-node, collect-master
    #[arg(long)]
    pub again: bool,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Sets such as master1/2026-11-22/etcd, or archive files [default: the whole vault]
    pub what: Vec<String>,
    /// A file with the age identity for encrypted archives
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The host keys by which signatures are checked [default: the pinned ones]
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Drill {
    /// A set such as master1/2026-11-22/etcd, in this host's vault or in the archive
    pub set: Option<String>,
    /// Use a set from this archive
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    /// A file with the age identity for an encrypted archive
    #[arg(long, value_name = "FILE", requires = "archive")]
    pub identity: Option<PathBuf>,
    /// Drill a copy of this etcd data directory, which nightshift did not create (with --force-new-cluster)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["set", "archive"])]
    pub data_dir: Option<PathBuf>,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "nightshift inspect WHAT [OPTIONS]\n       \
                            nightshift inspect WHAT keys [PREFIX] | get KEY | history KEY\n       \
                            nightshift inspect diff WHAT WHAT")]
pub struct Inspect {
    /// A set such as master1/2026-11-22/etcd or its directory, a night, an archive file, or a snapshot file
    pub what: Option<String>,
    #[command(subcommand)]
    pub query: Option<Query>,
    #[command(flatten)]
    pub choice: Choice,
    #[arg(long, global = true, help = JSON)]
    pub json: bool,
}

/// Which snapshot to open if there are several, and how.
#[derive(Debug, Args)]
pub struct Choice {
    /// Of a night or an archive: the etcd set of this host [default: the best one of all hosts]
    #[arg(long, global = true)]
    pub host: Option<HostName>,
    /// Of an archive: this set, such as master1/2026-11-22/etcd.2
    #[arg(long, global = true)]
    pub set: Option<SetId>,
    /// A file with the age identity for encrypted archives
    #[arg(long, global = true, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The scratch directory for unpacking and sorting [default: $TMPDIR or /var/tmp]
    #[arg(long, global = true, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Query {
    /// List the existing keys, in order
    Keys {
        /// Only keys that start with this, such as /kubernetes.io/secrets/
        prefix: Option<OsString>,
    },
    /// Print the value of a key
    Get {
        key: OsString,
        /// The value at this revision [default: the newest]
        #[arg(long)]
        rev: Option<u64>,
        /// `raw` prints the bytes of the value; for protobuf objects, `json` and `yaml` print only kind, name and size
        #[arg(long, value_enum)]
        output: Option<Output>,
    },
    /// List the stored revisions of a key (those that were not compacted), oldest first
    History { key: OsString },
    /// List the keys that were added, removed or changed from the first to the second
    Diff {
        #[arg(required = true, num_args = 1..=2, value_name = "WHAT")]
        what: Vec<String>,
        /// Only keys that start with this
        #[arg(long)]
        prefix: Option<OsString>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Raw,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Create this master's SSH key and one for each remote, if they do not exist yet
    Init,
    /// Print the authorized_keys line for this master's SSH key
    Authorize {
        /// For every host and remote of the config: the file, and the line that belongs in it
        #[arg(long, conflicts_with_all = ["agentless", "remote"])]
        all: bool,
        /// The line for an agentless host: with it, this master can read the whole host
        #[arg(long, conflicts_with = "remote")]
        agentless: bool,
        /// The line for this remote, with the key for this remote
        #[arg(long, value_name = "NAME")]
        remote: Option<RemoteName>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Print one page without secrets: what is needed to restore this cluster, to be printed on paper
    RecoverySheet,
    /// Replace this master's SSH key, in two steps
    ///
    /// The first run creates a new key beside the old one and prints the lines that authorize it. Run it again when they are on
    /// every host: it logs in everywhere with the new key, and replaces the old key only if each login works.
    Rotate {
        /// The key for this remote, instead of the one for peers
        #[arg(long, value_name = "NAME")]
        remote: Option<RemoteName>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ColdCopy {
    /// Make one cold copy of the etcd member, for the daemon that is connected to standard input
    Serve,
    /// Start a member that a cold copy left stopped
    Recover,
}

pub fn parse() -> Result<Cli, CommandError> {
    Ok(Cli::try_parse()?)
}
