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

/// Copies the best sets of a night, and of a node that has none the newest earlier one. Each host and role has one at most.
pub fn copy(
    vault: &Vault,
    hosts: &[(HostName, Vec<Role>)],
    night: Night,
    directory: &Path,
) -> Result<Sets, RestoreError> {
    let found = vault.sets_to_restore(hosts, night)?;
    let mut sets = Vec::new();
    for set in found.sets {
        copy_set(vault, &set.manifest, directory)?;
        sets.push((set.manifest, set.grade));
    }
    let missing = found
        .missing
        .iter()
        .map(|(host, role)| format!("{host} {role}: no set of {night} in this vault"))
        .collect();
    Ok(Sets { night, sets, missing })
}

fn copy_set(vault: &Vault, manifest: &Manifest, directory: &Path) -> Result<(), RestoreError> {
    let id = manifest.id();
    let from = vault.directory(&id);
    let to = directory.join(id.in_night());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::fixtures::{file, manifest};
    use nightshift_core::outcome::Grade;

    use super::*;

    fn put(vault: &Vault, set: &str) {
        let id = set.parse().unwrap();
        let partial = vault.begin(&id).unwrap();
        partial.write("etc/x", b"x").unwrap();
        let item = file("etc/x", "/etc/x", b"x");
        partial.publish(&manifest(&id, Grade::Good, vec![item]).encode().unwrap(), None).unwrap();
    }

    #[test]
    fn an_earlier_set_is_used_of_a_node_alone() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path().join("vault"));
        for set in ["n1/2026-11-26/node", "n1/2026-11-27/node", "m1/2026-11-27/master", "n1/2026-11-29/node"]
        {
            put(&vault, set);
        }
        let hosts = [("n1", Role::Node), ("m1", Role::Master)]
            .map(|(host, role)| (host.parse().unwrap(), vec![role]));
        let sets = copy(&vault, &hosts, "2026-11-28".parse().unwrap(), &dir.path().join("sets")).unwrap();
        let ids: Vec<String> = sets.sets.iter().map(|(manifest, _)| manifest.id().to_string()).collect();
        assert_eq!(ids, ["n1/2026-11-27/node"]);
        assert_eq!(sets.missing, ["m1 master: no set of 2026-11-28 in this vault"]);
    }
}
