//! The arguments of the commands that set a host up.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    pub from: InitFrom,
    /// Write the config to this file, which must not exist yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct InitFrom {
    /// An Ansible inventory (INI or YAML), or the output of `ansible-inventory --list`; - is standard input
    #[arg(long = "from-ansible", value_name = "FILE|-")]
    pub ansible: Option<PathBuf>,
    /// The output of `kubectl get nodes -o json`; - is standard input
    #[arg(long = "from-nodes", value_name = "FILE|-")]
    pub nodes: Option<PathBuf>,
    /// This host alone, by what is installed on it
    #[arg(long = "from-host")]
    pub host: bool,
}

#[derive(Debug, Args)]
pub struct Trust {
    /// Hosts of the inventory, remotes, HOST or HOST:PORT [default: all peers and remotes]
    pub hosts: Vec<String>,
    /// Pin only the key with this fingerprint (SHA256:…), without confirmation
    #[arg(long)]
    pub fingerprint: Option<String>,
    /// Pin the keys that have their fingerprint in this file, without confirmation: lines `host SHA256:…`
    ///
    /// A host by its name in the config, a remote by its address. `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it.
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    pub fingerprints: Option<PathBuf>,
    /// Pin the keys that an existing known_hosts file has for these hosts, without a connection to them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fingerprint", "fingerprints"])]
    pub known_hosts: Option<PathBuf>,
    /// Pin the keys that these hosts show now instead of the pinned ones, after they were reinstalled or their keys changed
    ///
    /// The pinned keys are kept in known_hosts as former ones: what they signed before stays verified. Not for a key that was
    /// stolen: revoke that with `@revoked`.
    #[arg(long, requires = "hosts")]
    pub replace: bool,
}
