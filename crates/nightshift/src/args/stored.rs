//! The arguments of the commands that change what is stored: a backup now, the nights, the sets.

use clap::{Args, Subcommand};
use jiff::civil::Date;
use nightshift_core::backup::label;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::set_path::SetId;
use nightshift_core::text::Text;

use super::Login;

#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Start it over your own ssh: each host makes its sets; the masters pull, pack and ship them
    ///
    /// It runs on a master, or on a machine with a copy of the cluster's configuration (`--config`). Every host that does not take part is
    /// named. Exit codes: 0 all is backed up, 1 no host took part, 3 something is missing.
    Now(BackupNow),
}

#[derive(Debug, Args)]
pub struct BackupNow {
    /// Wait until the night has ended on each host, and print its result
    #[arg(long)]
    pub wait: bool,
    /// A name for it, such as before-upgrade: it is in the record, and `nights` shows it
    #[arg(long, value_parser = label)]
    pub label: Option<Text>,
    #[command(flatten)]
    pub login: Login,
}

#[derive(Debug, Subcommand)]
pub enum Nights {
    /// Close the open extra night: its stages are stopped, and its record is written
    Close,
    /// Keep a night from being pruned on this host, and its archive of this host on remotes
    ///
    /// Each host decides about its own vault, so run it on every host whose copy is to be kept: one master is enough for a restore.
    Keep {
        /// A night such as 2026-11-22
        night: Night,
        /// To the end of this day, such as 2027-03-31 [default: until `--not`]
        #[arg(long, value_name = "DATE")]
        until: Option<Date>,
        /// Let the policy decide about it again
        #[arg(long, conflicts_with = "until")]
        not: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Sets {
    /// Mark a suspicious or diverged set as reviewed and good
    ///
    /// From then on it counts as a good copy, and retention removes old sets of its host again. The acceptance is stored
    /// beside the set, with your user name; masters copy it at their next pull. Accepting a set also settles earlier
    /// suspicious sets of the same host and role.
    Accept {
        /// A set such as etcd1/2026-11-22/etcd
        set: SetId,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Remove all sets of a host that has left the configuration, also its last good one
    ///
    /// Without this, the policy keeps the last good set of such a host as long as it keeps anything. Each host removes what is in
    /// its own vault; archives keep theirs.
    Forget {
        host: HostName,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}
