//! `nightshift keys authorize`: prints the lines that let this master's keys in.

use nightshift_core::inventory::Host;
use nightshift_core::name::RemoteName;
use nightshift_core::role::Role;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::text::first_of;
use nightshift_engine::machine;
use nightshift_ssh::Identity;
use serde::Serialize;

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

/// The lines of this master's keys, for programs.
#[derive(Debug, Serialize)]
struct Report {
    master: bool,
    lines: Vec<Line>,
}

/// A line, and where it belongs.
#[derive(Debug, Serialize)]
struct Line {
    kind: Kind,
    name: String,
    address: String,
    user: String,
    file: String,
    agentless: bool,
    line: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Host,
    Remote,
}

/// Prints, for every other host and every remote, the file and its line. A file is named in a comment, so a block can be pasted.
pub fn all(settings: &Settings, json: bool) -> Result<Exit, CommandError> {
    let master = settings.roles().has(Role::Master);
    let lines = if master { lines(settings)? } else { Vec::new() };
    if json {
        out::print_json(&Report { master, lines })?;
        return Ok(Exit::Good);
    }
    if !master {
        out::print(no_master(settings));
    }
    for Line { kind, name, address, file, agentless, line, .. } in &lines {
        out::print(match kind {
            Kind::Host if *agentless => {
                format!("# {name}: {file} (with it, this master can READ THE WHOLE HOST)")
            }
            Kind::Host => format!("# {name}: {file}"),
            Kind::Remote => format!("# remote {name}: {file} on {address}"),
        });
        out::print(line);
    }
    Ok(Exit::Good)
}

/// Those of one remote, of the agentless hosts, or of the hosts with a daemon.
pub fn as_json(
    settings: &Settings,
    agentless: bool,
    remote: Option<&RemoteName>,
) -> Result<Exit, CommandError> {
    remote.map(|name| find_remote(settings, name)).transpose()?;
    let master = settings.roles().has(Role::Master);
    let mut lines = if master { lines(settings)? } else { Vec::new() };
    lines.retain(|line| match (&line.kind, remote) {
        (Kind::Remote, Some(name)) => line.name == name.as_str(),
        (Kind::Host, None) => line.agentless == agentless,
        _ => false,
    });
    out::print_json(&Report { master, lines })?;
    Ok(Exit::Good)
}

fn lines(settings: &Settings) -> Result<Vec<Line>, CommandError> {
    let identity = Identity::load(&settings.ssh.identity)?;
    let (peer, agentless) = (peer_line(&identity), line_of(AGENTLESS, &identity));
    let of_host = |host: &Host| Line {
        kind: Kind::Host,
        name: host.name.to_string(),
        address: host.address.clone(),
        user: host.user.clone(),
        file: authorized_keys(&host.user),
        agentless: host.agentless,
        line: if host.agentless { agentless.clone() } else { peer.clone() },
    };
    let of_remote = |remote: &Remote| -> Result<Line, CommandError> {
        Ok(Line {
            kind: Kind::Remote,
            name: remote.name.to_string(),
            address: remote.address.clone(),
            user: remote.user.clone(),
            file: authorized_keys(&remote.user),
            agentless: false,
            line: remote_line(&Identity::load(&remote.identity)?),
        })
    };
    let others = settings.inventory.hosts().filter(|host| host.name != settings.this);
    others.map(|host| Ok(of_host(host))).chain(settings.remotes.iter().map(of_remote)).collect()
}

/// Why a host has no keys.
pub fn no_master(settings: &Settings) -> String {
    format!("{} is not a master and needs no SSH key: only masters log in to other hosts", settings.this)
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
