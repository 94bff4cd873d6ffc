//! The words of the command line, each with its meaning: help, man pages and completions come from here.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nightshift_core::name::{HostName, RemoteName};
use nightshift_core::night::Night;
use nightshift_core::set_path::SetId;

/// Backs up a cluster's control plane every night.
///
/// Every master, etcd member and node hands in what it would take to rebuild it; every master holds a copy of
/// all of it; an encrypted archive leaves the site. One daemon and one config file per host.
#[derive(Debug, Parser)]
#[command(name = "nightshift", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 good, 1 failed, 2 usage, 3 degraded or stale, 75 busy or daemon away, 77 permission, 78 config"
)]
pub struct Cli {
    /// The config file; drop-ins lie beside it in conf.d/
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/nightshift/nightshift.toml")]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold the schedule and run it: what systemd starts
    Daemon,
    /// Check the config, and with --connect everything it names
    Check(Check),
    /// Show a night as it will run on this host: stages, times, peers, files
    Plan {
        /// The night's date, such as 2026-11-22; tonight by default
        #[arg(long)]
        night: Option<Night>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Show the night so far or the last one, the last good night, and what is stale
    Status {
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Start stages now, or the whole night
    ///
    /// Outside an open night `run night` opens an extra one, such as 2026-11-22.1, and makes this host's sets;
    /// masters fetch it with `run pull-etcd --night 2026-11-22.1`.
    Run(Run),
    /// Take the edited config, or say why not
    Reload,
    /// List the recorded nights, or tell one of them
    Nights {
        night: Option<Night>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// List the sets in this host's vault, or accept one of them
    #[command(args_conflicts_with_subcommands = true)]
    Sets {
        #[command(subcommand)]
        command: Option<Sets>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Hash stored sets again and check their snapshots, signatures and archives
    Verify {
        /// Sets such as master1/2026-11-22/etcd, or archive files; the whole vault by default
        what: Vec<String>,
        /// A file with the age identity that opens encrypted archives
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Restore a stored etcd snapshot into a scratch etcd and prove that it works
    ///
    /// The best of the newest night is taken where no set is named. Ends with 0 where the copy is proved, with 1 where
    /// it does not restore, and with 3 where that could not be tried.
    Drill(Drill),
    /// Look into a set, an archive or a snapshot: files, keys, one object, two nights compared
    ///
    /// Reads the vault and files and asks no daemon. A compressed snapshot is unpacked into a scratch folder, an
    /// archive's on the way. In a terminal the answer goes through $PAGER, or else less.
    Inspect(Inspect),
    /// Make SSH identities, and print the lines that authorise them
    #[command(subcommand)]
    Keys(Keys),
    /// Show the host keys of hosts and pin them
    Trust(Trust),
    /// What systemd runs for the cold copy
    #[command(hide = true, subcommand)]
    ColdCopy(ColdCopy),
    /// Write man pages, completions and the journal's message catalog
    #[command(hide = true)]
    Generate { folder: PathBuf },
    /// Do one drill, told on standard input: what the daemon and the drill's unit start
    #[command(hide = true)]
    DrillWorker {
        /// The process to end with
        #[arg(long)]
        parent: Option<u32>,
    },
    /// Become a program that is killed when the parent ends
    #[command(hide = true)]
    DrillEtcd {
        #[arg(long)]
        parent: u32,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Remove what killed drills left in a scratch folder
    #[command(hide = true)]
    DrillSweep { scratch: PathBuf },
}

const JSON: &str = "Print JSON";

#[derive(Debug, Args)]
pub struct Check {
    /// Connect to every peer and remote, and ask the local etcd member and the daemon
    #[arg(long)]
    pub connect: bool,
    /// Print the settings in force, each with where it came from
    #[arg(long)]
    pub show: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Stages such as pull-etcd, or `night` for all of them
    #[arg(required = true, value_name = "STAGE|night")]
    pub what: Vec<String>,
    /// Wait until they have ended, and tell how
    #[arg(long)]
    pub wait: bool,
    /// The extra night to run them in
    #[arg(long)]
    pub night: Option<Night>,
}

#[derive(Debug, Args)]
pub struct Drill {
    /// A set such as master1/2026-11-22/etcd, in this host's vault or in the archive
    pub set: Option<String>,
    /// Take the set from this archive
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    /// A file with the age identity that opens an encrypted archive
    #[arg(long, value_name = "FILE", requires = "archive")]
    pub identity: Option<PathBuf>,
    /// Prove a copy that nightshift did not make: a data dir, started by --force-new-cluster on a copy of it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["set", "archive"])]
    pub data_dir: Option<PathBuf>,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Sets {
    /// Say that a suspicious or diverged set is right
    ///
    /// It counts as a good copy from then on, and its host's sets are pruned again. That is written beside the set, with
    /// your name; the masters copy it when they pull next. To accept a later set settles the earlier ones of its host
    /// as well.
    Accept {
        /// Such as etcd1/2026-11-22/etcd
        set: SetId,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
#[command(override_usage = "nightshift inspect WHAT [OPTIONS]\n       \
                            nightshift inspect WHAT keys [PREFIX] | get KEY | history KEY\n       \
                            nightshift inspect diff WHAT WHAT")]
pub struct Inspect {
    /// A set such as master1/2026-11-22/etcd or its folder, a night, an archive, or a snapshot
    pub what: Option<String>,
    #[command(subcommand)]
    pub ask: Option<Ask>,
    #[command(flatten)]
    pub choice: Choice,
    #[arg(long, global = true, help = JSON)]
    pub json: bool,
}

/// Which snapshot is meant where there are several, and what it takes to open it.
#[derive(Debug, Args)]
pub struct Choice {
    /// Of a night or an archive, the etcd set of this host; of all hosts the best one by default
    #[arg(long, global = true)]
    pub host: Option<HostName>,
    /// Of an archive, this set, such as master1/2026-11-22/etcd.2
    #[arg(long, global = true)]
    pub set: Option<SetId>,
    /// A file with the age identity that opens encrypted archives
    #[arg(long, global = true, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Where to unpack and to sort; $TMPDIR or /var/tmp by default
    #[arg(long, global = true, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Ask {
    /// List the keys that are there, in order
    Keys {
        /// Only those that begin with this, such as /kubernetes.io/secrets/
        prefix: Option<OsString>,
    },
    /// Write the value of a key
    Get {
        key: OsString,
        /// As it was at this revision; the newest by default
        #[arg(long)]
        rev: Option<u64>,
        /// `raw` is the value byte by byte; of protobuf `json` and `yaml` show which object it is
        #[arg(long, value_enum)]
        output: Option<Output>,
    },
    /// List the revisions of a key that were not compacted away, oldest first
    History { key: OsString },
    /// List the keys that were added, removed or changed from the first to the second
    Diff {
        #[arg(required = true, num_args = 1..=2, value_name = "WHAT")]
        what: Vec<String>,
        /// Only keys that begin with this
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
    /// Make this master's SSH identity, and one for each remote, where they are not there yet
    Init,
    /// Print the authorized_keys line for this master's identity
    Authorize {
        /// For a host without a daemon: the line for a user who can read everything
        #[arg(long, conflicts_with = "remote")]
        agentless: bool,
        /// For the identity that is kept for this remote
        #[arg(long, value_name = "NAME")]
        remote: Option<RemoteName>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ColdCopy {
    /// Take one cold copy of the etcd member, for the daemon at the other end of standard input
    Serve,
    /// Start the member that a cold copy left stopped
    Recover,
}

#[derive(Debug, Args)]
pub struct Trust {
    /// Hosts of the inventory, remotes, HOST or HOST:PORT; every peer and remote by default
    pub hosts: Vec<String>,
    /// Pin only the key with this fingerprint, without asking: SHA256:…
    #[arg(long)]
    pub fingerprint: Option<String>,
}

pub fn parse() -> Cli {
    Cli::parse()
}
