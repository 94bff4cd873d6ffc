//! Notices a vault that was lost: without its disk there is an empty directory, or none, in which no new vault must begin.
//!
//! The vault contains the time of its first use, and the state directory remembers it with the vault's path.

use std::path::Path;

use jiff::Timestamp;

use crate::directory::create_directories;
use crate::fault::StoreError;
use crate::layout::Vault;
use crate::publish::replace_file;
use crate::read::read_if_exists;

/// The file in the vault. No host has such a name.
const IN_VAULT: &str = ".vault";
/// Bytes: a time and a path.
const MAX_LEN: u64 = 8 << 10;

impl Vault {
    /// Checks that the vault is the one that was used before at this path. Changes nothing.
    pub fn check_mark(&self) -> Result<(), StoreError> {
        self.unmarked().map(drop)
    }

    /// As `check_mark`; a vault that is used for the first time is marked.
    pub fn ensure_mark(&self) -> Result<(), StoreError> {
        let (Some(mark), Some(first_use)) = (self.mark(), self.unmarked()?) else { return Ok(()) };
        create_directories(self.root())?;
        mark.parent().map_or(Ok(()), create_directories)?;
        replace_file(&self.root().join(IN_VAULT), first_use.as_bytes())?;
        replace_file(mark, content(&first_use, self.root()).as_bytes())
    }

    /// The time of its first use, if the state directory does not remember it yet.
    fn unmarked(&self) -> Result<Option<String>, StoreError> {
        let Some(mark) = self.mark() else { return Ok(None) };
        let text = |path: &Path| {
            let bytes = read_if_exists(path, MAX_LEN)?;
            Ok::<_, StoreError>(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let there = text(&self.root().join(IN_VAULT))?;
        let remembered = text(mark)?;
        // With another path in the configuration, another vault is intended.
        let end = content("", self.root());
        match (remembered.as_deref().and_then(|it| it.strip_suffix(&end)), there) {
            (Some(remembered), Some(there)) if remembered == there => Ok(None),
            (Some(_), _) => {
                Err(StoreError::LostVault { path: self.root().to_owned(), mark: mark.to_owned() })
            }
            (None, there) => Ok(Some(there.unwrap_or_else(|| Timestamp::now().to_string()))),
        }
    }
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
}
