//! The arguments of `nightshift restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::restore::scope::Scope;

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
    /// Undo a plan: stop what it has started, and move everything back
    Undo {
        /// The directory of the plan
        plan: PathBuf,
        /// Also if etcd has accepted writes since it was restored: they are lost
        #[arg(long)]
        discard_writes: bool,
        #[command(flatten)]
        login: Login,
    },
    /// Put one file or directory of a host in place, or write it to a directory of this machine
    File(RestoreFile),
    /// Show how far a plan is
    Status {
        /// The directory of the plan
        plan: PathBuf,
    },
    /// Restore objects, or a namespace, through the API server of a living cluster
    ///
    /// It runs on your machine, and uses your own kubectl with its credentials. The API server first checks each object without a
    /// change (dryRun=All). What exists is left alone; of a namespace, what a controller makes again is skipped.
    Object(RestoreObject),
    /// Show what the plan would change on its machines, as a unified diff of text files
    Diff {
        /// The directory of the plan
        plan: PathBuf,
        /// Only this machine
        host: Option<HostName>,
        #[command(flatten)]
        login: Login,
    },
    /// Remove the directory of a plan, which contains every secret of the cluster
    Clean {
        /// The directory of the plan
        plan: PathBuf,
        /// Also if the plan has begun and is not finished
        #[arg(long)]
        abandon: bool,
    },
}

#[derive(Debug, Args)]
pub struct RestorePlan {
    #[command(flatten)]
    pub origin: Origin,
    /// Restore less than all: one host of a cluster that runs, or `etcd` for the data of all members
    #[arg(long, value_name = "HOST|etcd")]
    pub only: Option<Scope>,
    /// After the loss of the quorum: restore the data of this member, which survived and is stopped, instead of a snapshot
    #[arg(long, value_name = "HOST")]
    pub survivor: Option<HostName>,
    #[command(flatten)]
    pub login: Login,
    /// The directory in which the plan's directory is made
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    pub parent: PathBuf,
}

#[derive(Debug, Args)]
pub struct RestoreFile {
    /// The host whose file it is
    pub host: HostName,
    /// The absolute path of the file or directory
    pub path: String,
    #[command(flatten)]
    pub origin: Origin,
    /// Write it below this directory of this machine, and leave the host alone
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    #[command(flatten)]
    pub login: Login,
}

/// Where the sets come from.
#[derive(Debug, Args)]
pub struct Origin {
    /// An archive file, the directory of a vault, or a remote as sftp://USER@HOST/DIRECTORY; for objects also a snapshot file, or the directory of a plan
    #[arg(long, value_name = "ARCHIVE|VAULT|REMOTE")]
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
    /// Of a vault or a remote: the night [default: the newest; of a vault, with an etcd set]
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

#[derive(Debug, Args)]
pub struct RestoreObject {
    /// Objects such as deployment/web, or keys such as /registry/deployments/shop/web
    pub what: Vec<String>,
    /// The namespace of these objects; without any, the namespace itself with all its objects
    #[arg(long, short)]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub origin: Origin,
    /// Of a remote: the configuration file of ssh [default: the operator's]
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// The API server's file with the encryption keys [default: that in the masters' sets]
    #[arg(long, value_name = "FILE")]
    pub encryption_config: Option<PathBuf>,
    #[command(flatten)]
    pub cluster: Cluster,
    /// Restore an object whose owner is gone without the reference to the owner
    #[arg(long)]
    pub without_owners: bool,
    /// Print each object as the API server would create it; the values of secrets are masked
    #[arg(long)]
    pub show: bool,
    /// Write each object into a file of this new directory instead, secrets included
    #[arg(long, value_name = "DIR", conflicts_with_all = ["show", "to_etcd", "without_owners"])]
    pub to: Option<PathBuf>,
    /// Write keys into the etcd member of this host, if they do not exist there: for clusters without an API server
    #[arg(long, conflicts_with_all = ["namespace", "show", "without_owners"])]
    pub to_etcd: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
    /// The scratch directory for unpacking [default: $TMPDIR or /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// How the API server is reached: with the operator's own kubectl.
#[derive(Debug, Args)]
pub struct Cluster {
    /// The program that connects to the API server: kubectl, or oc
    #[arg(long, value_name = "PROGRAM", default_value = "kubectl")]
    pub kubectl: PathBuf,
    /// Its configuration file [default: its own]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in that file [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
}
