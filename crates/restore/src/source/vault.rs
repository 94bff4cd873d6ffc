//! The sets in the vault of a master that survived.

use std::io::{Read as _, Write as _};
use std::path::Path;

use nightshift_core::digest::Hasher;
use nightshift_core::manifest::{FILE, Manifest};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_store::{Vault, open_below};

use super::{Sets, create};
use crate::error::{Doing as _, RestoreError};

const CHUNK: usize = 256 << 10;

/// Copies the best sets of a night. Each host and role has one at most.
pub fn copy(
    vault: &Vault,
    hosts: &[(HostName, Vec<Role>)],
    night: Night,
    directory: &Path,
) -> Result<Sets, RestoreError> {
    let mut sets = Vec::new();
    let mut missing = Vec::new();
    for (host, roles) in hosts {
        for role in roles {
            match vault.best(host, night, *role) {
                Some(best) => {
                    copy_set(vault, &best.manifest, directory)?;
                    sets.push((best.manifest, best.grade));
                }
                None => missing.push(format!("{host} {role}: no set of {night} in this vault")),
            }
        }
    }
    Ok(Sets { night, sets, missing })
}

fn copy_set(vault: &Vault, manifest: &Manifest, directory: &Path) -> Result<(), RestoreError> {
    let id = manifest.id();
    let from = vault.directory(&id);
    let to = directory.join(id.host.as_str()).join(id.dir_name());
    let own =
        nightshift_store::read_bounded(&from.join(FILE), nightshift_core::manifest::max_bytes(id.role))?;
    let path = to.join(FILE);
    create(&path)?.write_all(&own).doing("write", &path)?;
    for (item, size, sha256) in manifest.files() {
        let source = from.join(&item.path);
        let mut reading = open_below(&from, &item.path).doing("open", &source)?;
        let path = to.join(&item.path);
        let mut writing = create(&path)?;
        let (mut hasher, mut copied, mut buffer) = (Hasher::default(), 0u64, vec![0; CHUNK]);
        loop {
            let read = reading.read(&mut buffer).doing("read", &source)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            copied += read as u64;
            writing.write_all(&buffer[..read]).doing("write", &path)?;
        }
        if (copied, hasher.finish()) != (size, sha256) {
            return Err(RestoreError::Refused(format!(
                "{id}: {} differs from its manifest, so this copy is damaged; use another master's vault or an archive",
                item.path
            )));
        }
    }
    Ok(())
}
