//! `nightshift keys`: creates SSH keys, and prints the lines that authorize them.

use std::path::{Path, PathBuf};

use nightshift_core::name::RemoteName;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_engine::machine;
use nightshift_ssh::Identity;

use super::CommandError;
use crate::args::Keys;
use crate::exit::Exit;
use crate::{config_file, out};

pub fn run(config: &Path, keys: Keys) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    match keys {
        Keys::Init => init(&settings),
        Keys::Authorize { agentless, remote } => authorize(&settings, agentless, remote.as_ref()),
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
    let identity = |path: &PathBuf| Identity::load(path);
    if let Some(name) = remote {
        let known = settings.remotes.iter().find(|remote| remote.name == *name);
        let remote =
            known.ok_or_else(|| CommandError::Usage(format!("the config has no remote `{name}`")))?;
        out::print_error(&format!(
            "add this line to ~{}/.ssh/authorized_keys on {} (with `restrict`, nightshift can still run sha256sum to verify uploads):",
            remote.user, remote.address
        ));
        out::print(format!("restrict {}", identity(&remote.identity)?.public_line()));
        return Ok(Exit::Good);
    }
    let line = identity(&settings.ssh.identity)?.public_line();
    let from = from(&machine::describe().addresses);
    if agentless {
        out::print_error(
            "add this line to root's authorized_keys on the agentless host. With it, this master can READ THE WHOLE HOST:",
        );
        out::print(format!("{from}restrict,command=\"internal-sftp -R\" {line}"));
    } else {
        out::print_error(
            "add this line to /var/lib/nightshift-peer/.ssh/authorized_keys on every other host that runs the daemon:",
        );
        out::print(format!("{from}restrict,command=\"internal-sftp -R -l INFO -f AUTHPRIV\" {line}"));
    }
    Ok(Exit::Good)
}

/// Limits the key to logins from this host's addresses.
fn from(addresses: &[String]) -> String {
    if addresses.is_empty() { String::new() } else { format!("from=\"{}\",", addresses.join(",")) }
}
