//! `nightshift keys`: identities, and the lines that authorise them.

use std::path::{Path, PathBuf};

use nightshift_core::name::RemoteName;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_engine::machine;
use nightshift_ssh::Identity;

use super::CommandError;
use crate::args::Keys;
use crate::config_file;
use crate::exit::Exit;
use crate::out;

pub fn run(config: &Path, keys: Keys) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    match keys {
        Keys::Init => init(&settings),
        Keys::Authorize { agentless, remote } => authorize(&settings, agentless, remote.as_ref()),
    }
}

/// Makes what is missing and leaves alone what is there.
fn init(settings: &Settings) -> Result<Exit, CommandError> {
    if !settings.roles().has(Role::Master) {
        out::say(format!(
            "{} is no master: only masters log in at other hosts, so it needs no identity",
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
            out::say(format!("{} is there: {}", path.display(), Identity::load(&path)?.fingerprint()));
        } else {
            create_folder(&path)?;
            let identity = Identity::generate_ed25519(&path, &comment)?;
            out::say(format!("{} made: {}", path.display(), identity.fingerprint()));
        }
    }
    out::say("authorise them with the lines of `nightshift keys authorize` and `… --remote NAME`");
    Ok(Exit::Good)
}

fn create_folder(path: &Path) -> Result<(), CommandError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(folder)
        .map_err(|source| CommandError::Write { path: folder.to_owned(), source })
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
        out::complain(&format!(
            "for ~{}/.ssh/authorized_keys on {}; `restrict` still lets nightshift run sha256sum there to verify what it sent:",
            remote.user, remote.address
        ));
        out::say(format!("restrict {}", identity(&remote.identity)?.public_line()));
        return Ok(Exit::Good);
    }
    let line = identity(&settings.ssh.identity)?.public_line();
    let from = from(&machine::describe().addresses);
    if agentless {
        out::complain(
            "for root's authorized_keys on the agentless host. With it, this master can READ THE WHOLE HOST:",
        );
        out::say(format!("{from}restrict,command=\"internal-sftp -R\" {line}"));
    } else {
        out::complain("for /var/lib/nightshift-peer/.ssh/authorized_keys on every other host with a daemon:");
        out::say(format!("{from}restrict,command=\"internal-sftp -R -l INFO -f AUTHPRIV\" {line}"));
    }
    Ok(Exit::Good)
}

/// The key is good from this host's addresses only.
fn from(addresses: &[String]) -> String {
    if addresses.is_empty() { String::new() } else { format!("from=\"{}\",", addresses.join(",")) }
}
