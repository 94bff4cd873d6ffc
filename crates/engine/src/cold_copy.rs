//! The cold copy: the whole `member/` directory of one etcd member, copied while that member is stopped.
//!
//! If etcd has v2 keys and v3 keys, no snapshot contains both, and a v2 backup with a snapshot cannot be restored
//! (docs/facts/etcd.md#v2-backup). So one member a night is stopped, copied, and started again. The daemon cannot stop a service:
//! it sends a request to `nightshift cold-copy serve`, which systemd starts as root on a socket that an operator has to enable.
//! `recover` starts the member if the copy was interrupted.

pub mod explain;
pub mod frame;
mod health;
mod lock;
mod marker;
pub(crate) mod pack;
pub mod peer;
mod quorum;
mod ready;
pub mod recover;
pub mod request;
pub mod serve;
mod tally;

use std::path::PathBuf;

use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::NightWindow;
use nightshift_core::settings::Settings;
use nightshift_etcd::discover::LocalMember;

/// The directory of the socket. It belongs to root: a user who can write to a socket's directory can make root change the owner
/// of another file while the socket is created.
const SOCKET_DIRECTORY: &str = "nightshift-cold-copy";
const SOCKET: &str = "cold-copy.sock";
/// Root's own directory, with the marker of a stopped member.
pub const STATE: &str = "/var/lib/nightshift-cold-copy";
/// How an operator enables cold copies.
pub const OPT_IN: &str = "systemctl enable --now nightshift-cold-copy.socket";

pub fn socket(settings: &Settings) -> PathBuf {
    settings.paths.run.with_file_name(SOCKET_DIRECTORY).join(SOCKET)
}

/// This host's member, and how it is stopped and started.
#[derive(Debug, Clone)]
pub struct Host<S> {
    pub cluster: ClusterName,
    pub this: HostName,
    pub window: NightWindow,
    pub local: LocalMember,
    pub service: S,
    /// The directory of the marker: `STATE` except in tests.
    pub state: PathBuf,
}

impl<S> Host<S> {
    pub fn new(settings: &Settings, local: LocalMember, service: S, state: impl Into<PathBuf>) -> Self {
        Self {
            this: settings.this.clone(),
            window: settings.window.clone(),
            cluster: settings.cluster.clone(),
            local,
            service,
            state: state.into(),
        }
    }
}
