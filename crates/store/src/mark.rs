//! Notices a vault that was lost: without its disk there is an empty directory, or none, in which no new vault must begin.
//!
//! The vault contains the time of its first use, and the state directory remembers it with the vault's path.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::directory::create_directories;
use crate::fault::{IoContext as _, StoreError};
use crate::layout::Vault;
use crate::read::read_if_exists;
use crate::replace::{replace_file, write_aside};
use crate::sync::sync_directory;

/// The file in the vault. No host has such a name.
const IN_VAULT: &str = ".vault";
/// Bytes: a time and a path.
const MAX_LEN: u64 = 8 << 10;

impl Vault {
    /// Checks that the vault is the one that was used before at this path. Changes nothing.
    pub fn check_mark(&self) -> Result<(), StoreError> {
        self.is_marked().map(drop)
    }

    /// As `check_mark`; a vault that is used for the first time is marked.
    pub fn ensure_mark(&self) -> Result<(), StoreError> {
        let Some(mark) = self.mark() else { return Ok(()) };
        if self.is_marked()? {
            return Ok(());
        }
        create_directories(self.root())?;
        mark.parent().map_or(Ok(()), create_directories)?;
        let first_use = self.first_use()?;
        replace_file(mark, content(&first_use, self.root()).as_bytes())
    }

    /// The content of the vault's own file, which is written once: several stages may begin with the vault at the same time.
    fn first_use(&self) -> Result<String, StoreError> {
        let path = self.root().join(IN_VAULT);
        if let Some(first_use) = read_text(&path)? {
            return Ok(first_use);
        }
        let file = write_aside(self.root(), &path, Timestamp::now().to_string().as_bytes())?;
        match file.persist_noclobber(&path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error.error).on("rename", &path);
            }
            _ => sync_directory(self.root()).on("sync", self.root())?,
        }
        Ok(read_text(&path)?.unwrap_or_default())
    }

    /// Whether the state directory remembers the vault at this path. Then it must be there.
    fn is_marked(&self) -> Result<bool, StoreError> {
        let Some(mark) = self.mark() else { return Ok(true) };
        // In this order: the file in the vault is written first.
        let remembered = read_text(mark)?;
        let there = read_text(&self.root().join(IN_VAULT))?;
        // With another path in the configuration, another vault is intended.
        let end = content("", self.root());
        match remembered.as_deref().and_then(|it| it.strip_suffix(&end)) {
            Some(remembered) if there.as_deref() == Some(remembered) => Ok(true),
            Some(_) => Err(StoreError::LostVault { path: self.root().to_owned(), mark: mark.to_owned() }),
            None => Ok(false),
        }
    }
}

fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    let bytes = read_if_exists(path, MAX_LEN)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn content(first_use: &str, root: &Path) -> String {
    format!("{first_use}\n{}\n", root.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_vault_that_was_used_is_never_begun_again_at_its_path_and_may_be_at_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (root, mark) = (dir.path().join("vault"), dir.path().join("vault.mark"));
        let vault = |root: &Path| Vault::new(root).marked_by(mark.clone());
        vault(&root).check_mark().unwrap();
        assert!(!root.exists(), "a check changes nothing");
        vault(&root).ensure_mark().unwrap();
        vault(&root).ensure_mark().unwrap();
        let lost = |root: &Path| matches!(vault(root).ensure_mark(), Err(StoreError::LostVault { .. }));
        // The disk is not mounted, then another one is.
        let unmounted = dir.path().join("disk");
        fs::rename(&root, &unmounted).unwrap();
        assert!(lost(&root) && !root.exists());
        fs::create_dir(&root).unwrap();
        assert!(lost(&root));
        fs::write(root.join(IN_VAULT), "2020-01-01T00:00:00Z").unwrap();
        assert!(lost(&root));
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&unmounted, &root).unwrap();
        vault(&root).ensure_mark().unwrap();
        vault(&dir.path().join("other")).ensure_mark().unwrap();
        fs::remove_file(&mark).unwrap();
        vault(&root).ensure_mark().unwrap();
        fs::remove_dir_all(&root).unwrap();
        let refused = vault(&root).ensure_mark().unwrap_err().to_string();
        assert!(refused.contains(&format!("remove {}", mark.display())), "{refused}");
    }

    #[test]
    fn stages_that_begin_with_a_new_vault_at_the_same_time_agree_on_its_mark() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let vault = Vault::new(dir.path().join("vault")).marked_by(dir.path().join("vault.mark"));
            std::thread::scope(|scope| {
                let stages: Vec<_> = (0..8).map(|_| scope.spawn(|| vault.ensure_mark())).collect();
                stages.into_iter().for_each(|stage| stage.join().unwrap().unwrap());
            });
            vault.check_mark().unwrap();
        }
    }
}
