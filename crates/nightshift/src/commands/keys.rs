//! `nightshift keys`: creates SSH keys, and prints the lines that authorize them.

pub mod authorize;
mod recovery_sheet;
mod rotate;

use std::path::{Path, PathBuf};

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
        Keys::Authorize { all: true, json, .. } => authorize::all(&settings, json),
        Keys::Authorize { agentless, remote, json: true, .. } => {
            authorize::as_json(&settings, agentless, remote.as_ref())
        }
        Keys::Authorize { agentless, remote, .. } => {
            authorize::authorize(&settings, agentless, remote.as_ref())
        }
        Keys::RecoverySheet => recovery_sheet::print(&settings),
        Keys::Rotate { remote } => here(rotate::rotate(&settings, remote.as_ref())),
    }
}

/// Creates missing keys; existing ones stay as they are.
fn init(settings: &Settings) -> Result<Exit, CommandError> {
    if !settings.roles().has(Role::Master) {
        out::print(authorize::no_master(settings));
        return Ok(Exit::Good);
    }
    for Key { path, identity, is_new } in create(settings)? {
        let state = if is_new { "created" } else { "exists already" };
        out::print(format!("{}: {state}, {}", path.display(), identity.fingerprint()));
    }
    out::print(
        "next: authorize them with the lines that `nightshift keys authorize --all` prints for each host and remote",
    );
    Ok(Exit::Good)
}

/// A key of this master.
pub struct Key {
    path: PathBuf,
    pub identity: Identity,
    pub is_new: bool,
}

/// Creates missing keys; existing ones stay as they are. The first is for peers, the others are for the remotes in their order.
pub fn create(settings: &Settings) -> Result<Vec<Key>, CommandError> {
    let peers = (settings.ssh.identity.clone(), format!("nightshift@{}", settings.this));
    let remotes = settings
        .remotes
        .iter()
        .map(|remote| (remote.identity.clone(), format!("nightshift@{} for {}", settings.this, remote.name)));
    let keys = std::iter::once(peers).chain(remotes).map(|(path, comment)| {
        let is_new = !path.exists();
        let identity = if is_new {
            create_dir(&path)?;
            Identity::generate_ed25519(&path, &comment)?
        } else {
            Identity::load(&path)?
        };
        Ok(Key { path, identity, is_new })
    });
    keys.collect()
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
