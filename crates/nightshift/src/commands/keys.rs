//! `nightshift keys`: creates SSH keys, and prints the lines that authorize them.

mod authorize;
mod rotate;

use std::path::Path;

use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
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
        Keys::Authorize { agentless, remote } => authorize::authorize(&settings, agentless, remote.as_ref()),
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
