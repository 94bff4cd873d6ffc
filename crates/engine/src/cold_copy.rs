//! The cold copy: the whole `member/` folder of one etcd member, taken while that member is stopped.
//!
//! Where etcd's older store holds keys beside the newer one, no snapshot has both, and a v2 backup beside a snapshot does
//! not restore (docs/facts/etcd.md#v2-backup). So one member a night is stopped, copied, and seen healthy again. The daemon
//! cannot stop anything: it asks `nightshift cold-copy serve`, which systemd starts as root on a socket that is off until
//! somebody enables it. `recover` starts the member again, however that ended.

mod ask;
mod explain;
mod frame;
mod health;
mod lock;
mod marker;
mod pack;
mod quorum;
mod ready;
mod recover;
mod serve;
mod tally;

use std::path::PathBuf;

use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::night::NightWindow;
use nightshift_core::settings::Settings;

pub use ask::{AskError, Asked, Copied, ask};
pub use explain::{Enabled, enabled, explain};
pub use frame::{Request, Said};
pub use marker::MarkerError;
pub use recover::{RecoverError, recover};
pub use serve::{ServeError, refuse, serve};

use nightshift_etcd::LocalMember;

/// The folder of the socket, beside the one for what lives as long as the daemon. It is root's: whoever may write to a
/// socket's folder can have root give away another file while it sets the socket up.
const SOCKET_FOLDER: &str = "nightshift-cold-copy";
const SOCKET: &str = "cold-copy.sock";
/// Root's own folder: what was stopped stands there until it runs again.
pub const STATE: &str = "/var/lib/nightshift-cold-copy";
/// How an operator opts in, in words for messages.
pub const OPT_IN: &str = "systemctl enable --now nightshift-cold-copy.socket";

/// Where the helper is asked.
pub fn socket(settings: &Settings) -> PathBuf {
    settings.paths.run.with_file_name(SOCKET_FOLDER).join(SOCKET)
}

/// This host's member, and how it is stopped and started.
#[derive(Debug, Clone)]
pub struct Host<S> {
    pub cluster: ClusterName,
    pub this: HostName,
    pub window: NightWindow,
    pub local: LocalMember,
    pub service: S,
    /// Where the marker lies: `STATE` but in tests.
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
