//! Who may request a cold copy: the daemon in its unit, and root. The mode of the socket admits every process of the daemon's user.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_peercred;

const UNIT: &str = "nightshift.service";
/// The control groups that a user can create and name are below it.
const OF_USERS: &str = "user.slice";

#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    #[error("cannot read the credentials of the client")]
    Credentials(#[source] io::Error),
    #[error(
        "a process of the user with the id {uid} may not request a cold copy; only the daemon may, and root"
    )]
    User { uid: u32 },
    #[error(
        "a process in the control group {group} may not request a cold copy; only the daemon in its unit {UNIT} may, and root"
    )]
    Group { group: String },
}

/// Refuses a client that is neither root nor the daemon.
pub fn require_daemon(client: &UnixStream) -> Result<(), PeerError> {
    let credentials = socket_peercred(client).map_err(|errno| PeerError::Credentials(errno.into()))?;
    if credentials.uid.is_root() {
        return Ok(());
    }
    let uid = credentials.uid.as_raw();
    let address = client.local_addr().map_err(PeerError::Credentials)?;
    let owner = address.as_pathname().and_then(|socket| fs::metadata(socket).ok());
    if owner.map(|socket| socket.uid()) != Some(uid) {
        return Err(PeerError::User { uid });
    }
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", credentials.pid.as_raw_nonzero()))
        .map_err(PeerError::Credentials)?;
    let group = of_systemd(&groups);
    if is_of_daemon(group) { Ok(()) } else { Err(PeerError::Group { group: group.to_owned() }) }
}

/// The control group in systemd's hierarchy (cgroups(7), /proc/PID/cgroup): the one that is named after it, or the unified one.
fn of_systemd(groups: &str) -> &str {
    let of = |hierarchy: &str| {
        groups.lines().find_map(|line| {
            let (named, path) = line.split_once(':')?.1.split_once(':')?;
            (named == hierarchy).then_some(path)
        })
    };
    of("name=systemd").or_else(|| of("")).unwrap_or_default()
}

fn is_of_daemon(group: &str) -> bool {
    let mut names = group.split('/');
    names.clone().all(|name| name != OF_USERS) && names.next_back() == Some(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_control_group_of_the_daemons_unit_counts() {
        for (groups, of_daemon) in [
            ("0::/system.slice/nightshift.service\n", true),
            ("4:memory:/a\n1:name=systemd:/system.slice/nightshift.service\n", true),
            ("0::/\n1:name=systemd:/system.slice/nightshift.service\n", true),
            ("0::/backup.slice/nightshift.service\n", true),
            ("0::/system.slice/nightshift-drill@1.service\n", false),
            ("4:memory:/system.slice/nightshift.service\n1:name=systemd:/system.slice/cron.service\n", false),
            ("0::/user.slice/user-996.slice/user@996.service/app.slice/nightshift.service\n", false),
            ("0::/system.slice/nightshift.service/child\n", false),
            ("", false),
        ] {
            assert_eq!(is_of_daemon(of_systemd(groups)), of_daemon, "{groups}");
        }
    }
}
