//! Whether the data of an etcd set is still where its manifest says: a cheap check, which hashes nothing.

use std::fs::symlink_metadata;
use std::io::ErrorKind;

use nightshift_core::manifest::Manifest;
use nightshift_core::role::Role;

use crate::layout::Vault;

impl Vault {
    /// Why this host's copy of an etcd set lacks its data: a file of it is gone, or has another size. `None` for other sets, and where
    /// that cannot be found out.
    pub fn lacks_data(&self, manifest: &Manifest) -> Option<String> {
        if manifest.role != Role::Etcd {
            return None;
        }
        let directory = self.directory(&manifest.id());
        let data = manifest.files().filter(|(item, ..)| manifest.is_etcd_data(&item.path));
        data.into_iter().find_map(|(item, size, _)| {
            let path = directory.join(&item.path);
            match symlink_metadata(&path) {
                Ok(found) if found.is_file() && found.len() == size => None,
                Ok(found) if found.is_file() => {
                    Some(format!("{} has {} bytes instead of {size}", path.display(), found.len()))
                }
                Ok(_) => Some(format!("{} is not a file", path.display())),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    Some(format!("{} is gone", path.display()))
                }
                Err(_) => None,
            }
        })
    }
}
