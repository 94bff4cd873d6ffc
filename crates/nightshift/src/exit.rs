//! The exit codes, all in one place.

use std::process::ExitCode;

use nightshift_engine::control::ClientError;
use nightshift_engine::daemon::DaemonError;
use nightshift_store::StoreError;

use crate::commands::CommandError;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Good,
    Failed,
    /// The words were not understood; clap ends with the same code.
    Usage,
    /// It went, but something named is missing; or a night is stale.
    Degraded,
    /// Not now: something runs already, or the daemon is away (EX_TEMPFAIL).
    Busy,
    /// EX_NOPERM
    Permission,
    /// EX_CONFIG: systemd does not restart on it.
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Degraded => 3,
            Exit::Busy => 75,
            Exit::Permission => 77,
            Exit::Config => 78,
        })
    }
}

impl CommandError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(StoreError::Io { source, .. })
            | Self::Read { source, .. }
            | Self::ReadConfig { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            Self::Config(_)
            | Self::ReadConfig { .. }
            | Self::Daemon(DaemonError::Config(_) | DaemonError::NoRole) => Exit::Config,
            Self::Client(ClientError::Away { .. } | ClientError::BrokenOff(_)) => Exit::Busy,
            Self::Client(ClientError::Denied { .. }) => Exit::Permission,
            Self::Usage(_) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
