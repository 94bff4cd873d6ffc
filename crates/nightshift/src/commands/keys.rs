//! `nightshift keys`: creates SSH keys, and prints the lines that authorize them.

mod rotate;

use std::path::Path;

use nightshift_core::inventory::Host;
use nightshift_core::name::RemoteName;
use nightshift_core::role::Role;
use nightshift_core::settings::{Remote, Settings};
use nightshift_core::text::first_of;
use nightshift_engine::machine;
use nightshift_ssh::Identity;

use super::CommandError;
use super::here::here;
use crate::args::Keys;
use crate::exit::Exit;
use crate::{config_file, out};

pub fn run(config: &Path, keys: Keys) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    match keys {
        Keys::Init => init(&settings),
        Keys::Authorize { agentless, remote } => authorize(&settings, agentless, remote.as_ref()),
        Keys::Rotate { remote } => here(rotate::rotate(&settings, remote.as_ref())),
    }
}

/// Creates missing keys; existing ones stay as they are.
fn init(settings: &Settings) -> Result<Exit, CommandError> {
    if !settings.roles().has(Role::Master) {
        out::print(format!(
            "{} is not a master and needs no SSH key: only masters log in to other hosts",
            settings.this
        ));
        return Ok(Exit::Good);
    }
    let peers = (settings.ssh.identity.clone(), format!("nightshift@{}", settings.this));
    let remotes = settings
        .remotes
        .iter()
        .map(|remote| (remote.identity.clone(), format!("nightshift@{} for {}", settings.this, remote.name)));
    for (path, comment) in std::iter::once(peers).chain(remotes) {
        if path.exists() {
            out::print(format!(
                "{}: exists already, {}",
                path.display(),
                Identity::load(&path)?.fingerprint()
            ));
        } else {
            create_dir(&path)?;
            let identity = Identity::generate_ed25519(&path, &comment)?;
            out::print(format!("{}: created, {}", path.display(), identity.fingerprint()));
        }
    }
    out::print(
        "next: authorize them with the lines that `nightshift keys authorize` and `nightshift keys authorize --remote NAME` print",
    );
    Ok(Exit::Good)
}

fn create_dir(path: &Path) -> Result<(), CommandError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(directory)
        .map_err(CommandError::failed(format!("cannot write {}", directory.display())))
}

fn authorize(
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

fn find_remote<'a>(settings: &'a Settings, name: &RemoteName) -> Result<&'a Remote, CommandError> {
    let known = settings.remotes.iter().find(|remote| remote.name == *name);
    known.ok_or_else(|| CommandError::Usage(format!("the config has no remote `{name}`")))
}

fn print_remote_line(remote: &Remote, identity: &Identity) {
    out::print_error(&format!(
        "add this line to ~{}/.ssh/authorized_keys on {} (with `restrict`, nightshift can still run sha256sum to verify uploads):",
        remote.user, remote.address
    ));
    out::print_error(
        "`from` lists this host's addresses: behind NAT, replace them by the address that the remote sees. `restrict,command=\"internal-sftp\"` allows SFTP alone: then nightshift verifies uploads by reading them back",
    );
    let from = from(&machine::addresses());
    out::print(format!("{from}restrict {}", identity.public_line()));
}

fn print_agentless_line(identity: &Identity) {
    out::print_error(
        "add this line to root's authorized_keys on the agentless host. With it, this master can READ THE WHOLE HOST:",
    );
    out::print(line_of("internal-sftp -R", identity));
}

fn print_peer_line(identity: &Identity) {
    out::print_error(
        "add this line to /var/lib/nightshift-peer/.ssh/authorized_keys on every other host that runs the daemon:",
    );
    out::print(line_of("internal-sftp -R -l INFO -f AUTHPRIV", identity));
}

fn line_of(command: &str, identity: &Identity) -> String {
    let from = from(&machine::addresses());
    format!("{from}restrict,command=\"{command}\" {}", identity.public_line())
}

/// The other hosts that are expected to let this master in.
fn peers(settings: &Settings) -> impl Iterator<Item = &Host> {
    settings.inventory.hosts().filter(|host| host.name != settings.this && host.expected)
}

/// Limits the key to logins from this host's addresses.
fn from(addresses: &[String]) -> String {
    if addresses.is_empty() { String::new() } else { format!("from=\"{}\",", addresses.join(",")) }
}
