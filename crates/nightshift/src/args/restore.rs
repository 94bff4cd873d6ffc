//! The arguments of `nightshift restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nightshift_core::night::Night;

#[derive(Debug, Subcommand)]
pub enum Restore {
    /// Do one act of a plan on this machine: the request is on standard input (started over ssh by `restore apply`)
    #[command(hide = true)]
    Act,
    /// Make the plan, and print it on one page
    Plan(RestorePlan),
    /// Show whether this machine and the machines of the plan are ready
    Check {
        /// The directory of the plan
        plan: PathBuf,
        /// The directory with etcd and etcdutl (3.5.10 or newer, and not older than the member's minor version)
        #[arg(long, value_name = "DIR")]
        etcd_tools: Option<PathBuf>,
        #[command(flatten)]
        login: Login,
    },
    /// Carry the plan out, or continue it
    Apply {
        /// The directory of the plan
        plan: PathBuf,
        #[command(flatten)]
        login: Login,
    },
    /// Show how far a plan is
    Status {
        /// The directory of the plan
        plan: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct RestorePlan {
    #[command(flatten)]
    pub origin: Origin,
    /// The directory in which the plan's directory is made
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    pub parent: PathBuf,
}

/// Where the sets come from.
#[derive(Debug, Args)]
pub struct Origin {
    /// An archive file, or the directory of a vault
    #[arg(long, value_name = "ARCHIVE|VAULT")]
    pub from: PathBuf,
    /// A file with the age identity for an encrypted archive
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The fingerprint of the master's host key that must have signed the archive
    #[arg(long, value_name = "SHA256:…")]
    pub signer: Option<String>,
    /// Use an archive without a valid signature
    #[arg(long, conflicts_with = "signer")]
    pub unsigned: bool,
    /// Of a vault: the night [default: the newest with an etcd set]
    #[arg(long)]
    pub night: Option<Night>,
}

/// How the machines are reached: with the operator's own ssh.
#[derive(Debug, Args)]
pub struct Login {
    /// The login on the machines: root, or a user with sudo without a password [default: that of ssh]
    #[arg(long)]
    pub user: Option<String>,
    /// The configuration file of ssh [default: the operator's]
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
}
