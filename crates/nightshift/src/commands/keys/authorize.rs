//! `nightshift keys authorize`: prints the lines that let this master's keys in.

use nightshift_core::name::RemoteName;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::text::first_of;
use nightshift_engine::machine;
use nightshift_ssh::Identity;

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

/// The user that the package creates for the logins of masters.
const PEER: &str = "nightshift-peer";
pub const PEER_FILE: &str = "/var/lib/nightshift-peer/.ssh/authorized_keys";
/// What a master may run on an agentless host.
const AGENTLESS: &str = "internal-sftp -R";

pub fn authorize(
    settings: &Settings,
    agentless: bool,
    remote: Option<&RemoteName>,
) -> Result<Exit, CommandError> {
    if let Some(name) = remote {
        let remote = find_remote(settings, name)?;
        print_remote_line(remote, &Identity::load(&remote.identity)?);
        return Ok(Exit::Good);
    }
    let identity = Identity::load(&settings.ssh.identity)?;
    if agentless {
        print_agentless_line(&identity);
    } else {
        print_peer_line(&identity);
        let hosts = settings.inventory.hosts().filter(|host| host.agentless).map(|host| &host.name);
        let hosts: Vec<_> = hosts.collect();
        if !hosts.is_empty() {
            out::print_error(&format!(
                "without a daemon, and so with another line (nightshift keys authorize --agentless): {}",
                first_of(&hosts, ", ")
            ));
        }
    }
    Ok(Exit::Good)
}

/// Prints, for every other host and every remote, the file and its line. A file is named in a comment, so a block can be pasted.
pub fn all(settings: &Settings) -> Result<Exit, CommandError> {
    let identity = Identity::load(&settings.ssh.identity)?;
    let (peer, agentless) = (peer_line(&identity), line_of(AGENTLESS, &identity));
    for host in settings.inventory.hosts().filter(|host| host.name != settings.this) {
        let file = authorized_keys(&host.user);
        if host.agentless {
            out::print(format!("# {}: {file} (with it, this master can READ THE WHOLE HOST)", host.name));
        } else {
            out::print(format!("# {}: {file}", host.name));
        }
        out::print(if host.agentless { &agentless } else { &peer });
    }
    for remote in &settings.remotes {
        let file = authorized_keys(&remote.user);
        out::print(format!("# remote {}: {file} on {}", remote.name, remote.address));
        out::print(remote_line(&Identity::load(&remote.identity)?));
    }
    Ok(Exit::Good)
}

/// The file that lets keys in as a user. That of the package's user is below its home, which belongs to root.
fn authorized_keys(user: &str) -> String {
    if user == PEER { PEER_FILE.to_owned() } else { format!("~{user}/.ssh/authorized_keys") }
}

pub fn find_remote<'a>(settings: &'a Settings, name: &RemoteName) -> Result<&'a Remote, CommandError> {
    let known = settings.remotes.iter().find(|remote| remote.name == *name);
    known.ok_or_else(|| CommandError::Usage(format!("the config has no remote `{name}`")))
}

pub fn print_remote_line(remote: &Remote, identity: &Identity) {
    out::print_error(&format!(
        "add this line to ~{}/.ssh/authorized_keys on {} (with `restrict`, nightshift can still run sha256sum to verify uploads):",
        remote.user, remote.address
    ));
    out::print_error(
        "`from` lists this host's addresses: behind NAT, replace them by the address that the remote sees. `restrict,command=\"internal-sftp\"` allows SFTP alone: then nightshift verifies uploads by reading them back",
    );
    out::print(remote_line(identity));
}

/// The line of a key for a remote.
pub fn remote_line(identity: &Identity) -> String {
    format!("{}restrict {}", from(&machine::addresses()), identity.public_line())
}

pub fn print_agentless_line(identity: &Identity) {
    out::print_error(
        "add this line to root's authorized_keys on the agentless host. With it, this master can READ THE WHOLE HOST:",
    );
    out::print(line_of(AGENTLESS, identity));
}

pub fn print_peer_line(identity: &Identity) {
    out::print_error(&format!("add this line to {PEER_FILE} on every other host that runs the daemon:"));
    out::print(peer_line(identity));
}

/// The line of a key for peers.
pub fn peer_line(identity: &Identity) -> String {
    line_of("internal-sftp -R -l INFO -f AUTHPRIV", identity)
}

fn line_of(command: &str, identity: &Identity) -> String {
    let from = from(&machine::addresses());
    format!("{from}restrict,command=\"{command}\" {}", identity.public_line())
}

/// Limits the key to logins from this host's addresses.
fn from(addresses: &[String]) -> String {
    if addresses.is_empty() { String::new() } else { format!("from=\"{}\",", addresses.join(",")) }
}
