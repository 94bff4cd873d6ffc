//! All exit codes.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use nightshift_engine::control::ClientError;
use nightshift_engine::daemon::{DaemonError, StateLockError};
use nightshift_restore::target::TargetError;
use nightshift_ssh::{IdentityError, KnownHostsError};
use nightshift_store::StoreError;

use crate::commands::CommandError;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Good = 0,
    Failed = 1,
    /// Invalid arguments, or a request that cannot succeed on this host; clap uses the same code.
    Usage = 2,
    /// Completed, but something is missing; or an operator should look at the nights.
    Degraded = 3,
    /// EX_TEMPFAIL: something is already running, no night is open, or the daemon is not running.
    Busy = 75,
    /// EX_NOPERM
    Permission = 77,
    /// EX_CONFIG: with it, systemd does not restart the daemon.
    Config = 78,
}

/// How `status --plugin` ends. Nagios, Icinga and Zabbix give these numbers other meanings than nightshift does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PluginState {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl From<PluginState> for Exit {
    fn from(state: PluginState) -> Self {
        match state {
            PluginState::Ok => Self::Good,
            PluginState::Warning => Self::Failed,
            PluginState::Critical => Self::Usage,
            PluginState::Unknown => Self::Degraded,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Whether this user may not read a file of the host's own keys or pins.
fn is_denied(error: &(dyn Error + 'static)) -> bool {
    let source = match (error.downcast_ref::<KnownHostsError>(), error.downcast_ref::<IdentityError>()) {
        (Some(KnownHostsError::Read { source, .. } | KnownHostsError::Write { source, .. }), _)
        | (_, Some(IdentityError::Read { source, .. })) => source,
        _ => return false,
    };
    source.kind() == io::ErrorKind::PermissionDenied
}

impl CommandError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(StoreError::Io { source, .. })
            | Self::NoAnswer { source: StoreError::Io { source, .. }, .. }
            | Self::Read { source, .. }
            | Self::ReadConfig { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            Self::Config(_)
            | Self::ReadConfig { .. }
            | Self::Daemon(DaemonError::Config(_) | DaemonError::NoRole) => Exit::Config,
            Self::Client(ClientError::Away { .. } | ClientError::BrokenOff(_)) => Exit::Busy,
            Self::Daemon(DaemonError::State(StateLockError::Locked(_))) => Exit::Busy,
            Self::Act(TargetError::Busy) => Exit::Busy,
            Self::Other(error) if is_denied(error.as_ref()) => Exit::Permission,
            Self::Client(ClientError::Denied { .. }) | Self::Act(TargetError::NotRoot) => Exit::Permission,
            Self::Usage(_) | Self::Arguments(_) => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
