//! A machine's files by their paths on it, in its sets, and what is embedded in one of them.

use std::path::{Path, PathBuf};

use crate::manifest::{Item, ItemKind};
use crate::named_paths::normal;
use crate::restore::evidence::FoundSet;

/// As the kernel has it (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Where a certificate, an authority or a key is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A path on the machine.
    File(String),
    /// In another file, of which this is the path.
    Inline { of: String, pem: Vec<u8> },
}

/// The sets of a machine, in the order in which their files take precedence.
pub struct MachineFiles<'e>(pub Vec<&'e FoundSet>);

impl<'e> MachineFiles<'e> {
    /// The content of a file, or of the file to which a link leads.
    pub fn read(&self, path: &str) -> Option<&'e [u8]> {
        let mut path = PathBuf::from(path);
        for _ in 0..MAX_LINKS {
            let (set, item) = self.item(&path)?;
            match &item.kind {
                ItemKind::File { .. } => return set.texts.get(&item.path).map(Vec::as_slice),
                ItemKind::Symlink { target } => path = normal(&path.parent()?.join(target))?,
                ItemKind::Directory => return None,
            }
        }
        None
    }

    pub fn text(&self, path: &str) -> Option<&'e str> {
        std::str::from_utf8(self.read(path)?).ok()
    }

    fn item(&self, path: &Path) -> Option<(&'e FoundSet, &'e Item)> {
        let find = |is_it: &dyn Fn(&Item) -> bool| {
            self.0.iter().find_map(|set| Some((*set, set.manifest.items.iter().find(|item| is_it(item))?)))
        };
        let relative = path.strip_prefix("/").unwrap_or(path);
        // A path counts as well below another directory: a drop-in may have bound the host's files there.
        find(&|item| Path::new(&item.source) == path)
            .or_else(|| find(&|item| Path::new(&item.source).ends_with(relative)))
    }
}
