//! What a restore of a night reads from a vault.

use std::collections::BTreeMap;
use std::path::Path;

use nightshift_core::manifest::Manifest;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::restore::evidence::{MAX_TEXT, is_read};
use nightshift_core::role::Role;

use crate::fault::StoreError;
use crate::judge::Judged;
use crate::layout::Vault;
use crate::read::read_below;

/// Of the texts of one set together, in bytes: more than any configuration has. What is beyond is not read.
const MAX_TEXTS: u64 = 64 << 20;

#[derive(Debug, Default)]
pub struct ToRestore {
    /// At most one of each host and role.
    pub sets: Vec<Judged>,
    /// The hosts and roles without any.
    pub missing: Vec<(HostName, Role)>,
}

impl Vault {
    /// The best set of each host and role of a night; of a node that has none, its newest earlier copy: a node's files may be older
    /// than the masters'.
    pub fn sets_to_restore(
        &self,
        hosts: &[(HostName, Vec<Role>)],
        night: Night,
    ) -> Result<ToRestore, StoreError> {
        let mut found = ToRestore::default();
        for (host, role) in hosts.iter().flat_map(|(host, roles)| roles.iter().map(move |role| (host, *role)))
        {
            let mut best = self.best(host, night, role);
            if best.is_none() && role == Role::Node {
                let earlier = self.earlier(host, night, role, Grade::is_copy)?;
                best = earlier.and_then(|earlier| self.best(host, earlier.night, role));
            }
            match best {
                Some(best) => found.sets.push(best),
                None => found.missing.push((host.clone(), role)),
            }
        }
        Ok(found)
    }
}

/// The small files of a set from which a plan is made, by their paths in the set.
pub fn texts(set: &Path, manifest: &Manifest) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
    let (mut texts, mut total) = (BTreeMap::new(), 0);
    for item in manifest.items.iter().filter(|item| is_read(manifest.role, item)) {
        total += item.size().unwrap_or_default();
        if total > MAX_TEXTS {
            break;
        }
        let bytes = read_below(set, &item.path, MAX_TEXT)?;
        texts.insert(item.path.clone(), bytes);
    }
    Ok(texts)
}
