//! The operator's own ssh: its agent, its jump hosts and its configuration are the operator's, and host keys are checked strictly.

use std::path::PathBuf;
use std::process::Stdio;

use nightshift_core::restore::RemoteLogin;
use nightshift_core::restore::machine::Machine;
use tokio::process::Command;

/// ssh's own port, for which the operator's configuration may have another one.
const SSH_PORT: u16 = 22;
/// What `ssh` exits with if it cannot connect or log in.
pub const NOT_CONNECTED: i32 = 255;
/// A login must not wait for a terminal, a dead connection ends within a minute, and the operator's known_hosts stays as it is.
const OPTIONS: [&str; 10] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    // A shared connection would outlive the call, and a command of its own would replace ours.
    "ControlMaster=no",
    "ControlPath=none",
    "RemoteCommand=none",
    "ClearAllForwardings=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
];

/// How the machines are reached.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// The user there; ssh's configuration decides if it is `None`.
    pub user: Option<String>,
    /// Another configuration than the operator's (`ssh -F`).
    pub config: Option<PathBuf>,
}

/// A directory of a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePlace {
    pub user: String,
    pub address: String,
    /// ssh's configuration decides if it is `None`.
    pub port: Option<u16>,
    pub path: String,
}

/// The name of a host in known_hosts.
pub fn known_as(name: &str, port: u16) -> String {
    if port == SSH_PORT { name.to_owned() } else { format!("[{name}]:{port}") }
}

impl Login {
    /// A program of OpenSSH's, whose result is read.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// sftp, which reads its commands from standard input.
    pub fn sftp(&self, place: &RemotePlace) -> Command {
        let mut command = self.program("sftp");
        if let Some(port) = place.port {
            command.args(["-P", &port.to_string()]);
        }
        let address = &place.address;
        let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        command.args(["-q", "-b", "-", "--", &format!("{}@{address}", place.user)]);
        command
    }

    fn ssh(&self, port: u16, user: Option<&str>) -> Command {
        let mut command = self.program("ssh");
        if port != SSH_PORT {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = user {
            command.args(["-l", user]);
        }
        command
    }

    /// One act on the machine.
    pub fn act(&self, machine: &Machine) -> Command {
        self.as_root(machine, "nightshift restore act")
    }

    /// A program with its arguments, for the machine's shell.
    pub fn as_root(&self, machine: &Machine, line: &str) -> Command {
        let mut command = self.ssh(machine.port, self.user.as_deref());
        let is_root = self.user.as_deref().is_none_or(|user| user == "root");
        let line = if is_root { line.to_owned() } else { format!("sudo -n {line}") };
        command.args(["-T", "--", &machine.address, &line]);
        command
    }

    /// A shell of a remote's user, for one more argument.
    pub fn remote(&self, remote: &RemoteLogin) -> Command {
        let mut command = self.ssh(remote.port, Some(&remote.user));
        command.args(["-T", "--", &remote.address]);
        command
    }

    /// ssh's own settings for a remote.
    pub fn settings(&self, remote: &RemoteLogin) -> Command {
        let mut command = self.ssh(remote.port, Some(&remote.user));
        command.args(["-G", "--", &remote.address]);
        command
    }

    /// A connection from the machine to this address, such as `10.0.3.1:2379`.
    pub fn forward(&self, machine: &Machine, to: &str) -> Command {
        let mut command = self.ssh(machine.port, self.user.as_deref());
        command.args(["-W", to, "--", &machine.address]);
        command.stderr(Stdio::null());
        command
    }
}
