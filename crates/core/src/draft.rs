//! What a first config is made from, each value with a comment that says where it is from.

mod address;
mod ansible;
mod nodes;
mod this_host;

use std::collections::BTreeSet;

use crate::name::{ClusterName, HostName, NameError};
use crate::ranges::fold;
use crate::role::Roles;
use crate::text::{first_of, one_line};

pub use ansible::of_inventory;
pub use nodes::of_nodes;
pub use this_host::of_this_host;

/// A value, and where it is from, as lines of a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess<T> {
    pub value: T,
    pub comments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// A valid name.
    pub cluster: Guess<String>,
    pub hosts: Hosts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    Cluster(Box<Cluster>),
    /// The roles of this host alone.
    This(Guess<Roles>),
}

/// The hosts of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    pub masters: Guess<BTreeSet<HostName>>,
    pub etcd: Guess<BTreeSet<HostName>>,
    pub nodes: Guess<BTreeSet<HostName>>,
    /// What differs from the defaults, by host.
    pub tables: Vec<Table>,
    /// The port of every host's SSH server, if it is the same and not 22.
    pub port: Option<Guess<u16>>,
    /// About the logins.
    pub logins: Vec<String>,
    /// What the source has beside these hosts.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: HostName,
    /// With the name of the variable or field that it is from.
    pub address: Option<(String, &'static str)>,
    pub port: Option<(u16, &'static str)>,
}

/// Why no config can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    #[error(
        "none of its groups lists a host of a cluster: expected the groups of openshift-ansible (masters, etcd, nodes) or of kubespray \
         (kube_control_plane, etcd, kube_node); it has {0}; rename a group, or list the hosts in [hosts] by hand"
    )]
    NoRole(String),
    #[error("the host {host}: {problem}; give it such a name there, with its address in {remedy}")]
    Name { host: String, problem: NameError, remedy: &'static str },
    #[error("{0}; masters collect the sets of all hosts, so a config needs them; {1}")]
    NoMasters(String, &'static str),
    #[error(
        "the hosts {0} and {1} differ only in case, so they are one name in a config; rename one of them"
    )]
    SameName(String, String),
    #[error("{0}")]
    NotNodes(String),
    #[error("{0}")]
    NothingRuns(String),
}

impl<T> Guess<T> {
    pub fn new(value: impl Into<T>, comment: impl Into<String>) -> Self {
        Self { value: value.into(), comments: vec![comment.into()] }
    }
}

impl<T: Default> Default for Guess<T> {
    fn default() -> Self {
        Self { value: T::default(), comments: Vec::new() }
    }
}

impl Cluster {
    /// Every host once.
    pub fn all(&self) -> BTreeSet<&HostName> {
        [&self.masters, &self.etcd, &self.nodes].into_iter().flat_map(|group| &group.value).collect()
    }
}

/// The first few names, folded, for a comment.
fn shown<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    one_line(&first_of(&fold(names), ", "))
}

/// The name of a cluster that its source does not name: the domain that all masters share.
fn cluster_of(hosts: &Cluster) -> Guess<String> {
    let masters = &hosts.masters.value;
    let masters = if masters.is_empty() { hosts.all() } else { masters.iter().collect() };
    let domains: BTreeSet<Option<&str>> =
        masters.iter().map(|name| Some(name.as_str().split_once('.')?.1)).collect();
    match domains.first() {
        // The rest of an IP address is not a domain.
        Some(Some(domain))
            if domains.len() == 1
                && domain.contains(|c: char| c.is_ascii_alphabetic())
                && domain.parse::<ClusterName>().is_ok() =>
        {
            Guess::new(*domain, "Guess: the domain of the masters. Choose a name before the first night.")
        }
        _ => unnamed(),
    }
}

fn unnamed() -> Guess<String> {
    Guess::new("cluster", "Guess: a placeholder. Choose a name before the first night.")
}
