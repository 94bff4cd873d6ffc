//! etcd's programs from the member's container, kept in the state directory. The daemon never runs them; the drill's unit does.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nightshift_core::chain;
use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::text::Text;
use nightshift_store::space::{self, SpaceError};
use nightshift_store::{
    IoContext as _, StoreError, create_directories, list, open_below, open_own, read_below, remove_tree,
    sync_directory, sync_file,
};
use serde::{Deserialize, Serialize};

use crate::container::{MAX_PROGRAM, Program, Programs};
use crate::trial::tools::{ProgramName, Version};

/// Below the state directory.
const DIRECTORY: &str = "etcd-tools";
const LIST: &str = "tools.json";
const NEW: &str = ".new";
/// The versions that are kept: the member's own, and the one before an upgrade.
const MAX_KEPT: usize = 2;
const MAX_LIST_LEN: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("not enough space for etcd's programs")]
    Space(#[from] SpaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The programs of one version of the member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTools {
    /// The member's version when they were copied. The drill refuses programs that report another one.
    pub version: Text,
    /// The id of the container.
    pub container: Text,
    pub etcd: KeptProgram,
    pub restorer: KeptProgram,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptProgram {
    pub name: ProgramName,
    /// Its path on the host when it was copied.
    pub path: Text,
    pub sha256: Digest,
    pub size: u64,
}

/// Kept programs, open for reading.
#[derive(Debug)]
pub struct OpenTools {
    pub tools: KeptTools,
    pub etcd: File,
    pub restorer: File,
}

/// Keeps the programs of a container whose member has this version, if they are not kept yet, and removes those of older versions.
/// `leave` bytes stay free. Blocks.
pub fn keep(state: &Path, found: Programs, version: &str, leave: u64) -> Result<(), KeepError> {
    let directory = state.join(DIRECTORY);
    create_directories(&directory)?;
    open_own(&directory)?;
    let Programs { container, mut etcd, restorer } = found;
    let hash = hash(&mut etcd).on("read", &etcd.path)?;
    let target = directory.join(name_of(version, hash.sha256));
    if !target.join(LIST).exists() {
        space::require(&directory, hash.size.saturating_add(MAX_PROGRAM), 8, leave)?;
        let new = directory.join(NEW);
        remove_tree(&new)?;
        remove_tree(&target)?;
        DirBuilder::new().mode(0o750).create(&new).on("create", &new)?;
        let tools = KeptTools {
            version: version.into(),
            container: container.into(),
            etcd: copy(etcd, &new)?,
            restorer: copy(restorer, &new)?,
        };
        let listed = serde_json::to_vec_pretty(&tools).map_err(io::Error::from).on("encode", &new)?;
        let path = new.join(LIST);
        let mut file = create(&path)?;
        file.write_all(&listed).and_then(|()| sync_file(&file)).on("write", &path)?;
        sync_directory(&new).on("sync", &new)?;
        fs::rename(&new, &target).on("rename", &target)?;
        sync_directory(&directory).on("sync", &directory)?;
    }
    sweep(&directory, &target)
}

/// Opens the kept programs of a copy's minor version; of any version if that is unknown. Blocks.
pub fn open(state: &Path, of_copy: Option<&str>) -> Option<OpenTools> {
    let directory = state.join(DIRECTORY);
    let wanted = of_copy.and_then(Version::find);
    let fits = |tools: &KeptTools| {
        let found = Version::find(&tools.version);
        found.is_some_and(|found| wanted.is_none_or(|wanted| found.is_like(wanted)))
    };
    let mut kept: Vec<(KeptTools, PathBuf)> =
        all(&directory).into_iter().filter(|(tools, _)| fits(tools)).collect();
    kept.sort_by_key(|(tools, _)| Version::find(&tools.version));
    // A version that is exactly the copy's comes before others of its minor version.
    let exact = kept.iter().position(|(tools, _)| Version::find(&tools.version) == wanted);
    let at = exact.or_else(|| kept.len().checked_sub(1))?;
    let (tools, directory) = kept.swap_remove(at);
    let opened = |program: &KeptProgram| open_below(&directory, program.name.as_str()).on("open", &directory);
    match (opened(&tools.etcd), opened(&tools.restorer)) {
        (Ok(etcd), Ok(restorer)) => Some(OpenTools { tools, etcd, restorer }),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!("etcd's programs of the container cannot be used: {}", chain(&error));
            None
        }
    }
}

/// Whether there are kept programs of any version; `None` if this user cannot read the state directory.
pub fn are_kept(state: &Path) -> Option<bool> {
    list(&state.join(DIRECTORY)).is_ok().then(|| !all(&state.join(DIRECTORY)).is_empty())
}

fn all(directory: &Path) -> Vec<(KeptTools, PathBuf)> {
    let entries = list(directory).unwrap_or_default().into_iter().map(|entry| entry.path());
    let read = |path: PathBuf| {
        let listed = read_below(&path, LIST, MAX_LIST_LEN).ok()?;
        Some((serde_json::from_slice(&listed).ok()?, path))
    };
    entries.filter(|path| path.file_name().is_some_and(|name| name != NEW)).filter_map(read).collect()
}

fn name_of(version: &str, sha256: Digest) -> String {
    let version: String =
        version.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).take(40).collect();
    format!("{version}-{sha256}")
}

/// Removes the oldest directories but [`MAX_KEPT`]; `current` counts as the newest.
fn sweep(directory: &Path, current: &Path) -> Result<(), KeepError> {
    let mut others = Vec::new();
    for entry in list(directory)? {
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).on("stat", &entry.path())?;
        others.push((modified, entry.path()));
    }
    others.retain(|(_, path)| path != current);
    others.sort_unstable_by(|a, b| b.cmp(a));
    others.iter().skip(MAX_KEPT - 1).try_for_each(|(_, path)| Ok(remove_tree(path)?))
}

fn hash(program: &mut Program) -> io::Result<Written> {
    let mut hashed = HashedWriter::new(io::sink());
    io::copy(&mut BufReader::with_capacity(256 << 10, &program.file), &mut hashed)?;
    program.file.rewind()?;
    Ok(hashed.finish().1)
}

fn copy(program: Program, directory: &Path) -> Result<KeptProgram, StoreError> {
    let name = program.name;
    let target = directory.join(name.as_str());
    let mut hashed = HashedWriter::new(create(&target)?);
    // The file may grow while it is read.
    let mut source = io::Read::take(&program.file, MAX_PROGRAM);
    io::copy(&mut source, &mut hashed).on("write", &target)?;
    let (file, Written { size, sha256 }) = hashed.finish();
    sync_file(&file).on("sync", &target)?;
    Ok(KeptProgram { name, path: program.path.display().to_string().into(), sha256, size })
}

/// Not executable: it is the drill's unit that runs a copy of it.
fn create(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).on("create", path)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn program(name: ProgramName, content: &str) -> Program {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.rewind().unwrap();
        Program { name, file, path: Path::new("/rootfs/usr/bin").join(name.as_str()) }
    }

    fn programs(content: &str) -> Programs {
        let etcd = program(ProgramName::Etcd, content);
        Programs { container: "c1".to_owned(), etcd, restorer: program(ProgramName::Etcdutl, "utl") }
    }

    fn version_of(state: &Path, copy: Option<&str>) -> Option<String> {
        open(state, copy).map(|open| open.tools.version.to_string())
    }

    #[test]
    fn programs_are_kept_once_per_version_and_hash_and_opened_for_a_copys_minor_version() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path();
        assert_eq!((are_kept(state), version_of(state, None)), (Some(false), None));
        keep(state, programs("etcd 3.5.16"), "3.5.16", 0).unwrap();
        let sha256 = Digest::of(b"etcd 3.5.16");
        let directory = state.join(DIRECTORY).join(format!("3.5.16-{sha256}"));
        let before = fs::metadata(&directory).unwrap().modified().unwrap();
        keep(state, programs("etcd 3.5.16"), "3.5.16", 0).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().modified().unwrap(), before, "not written again");

        let OpenTools { tools, mut etcd, .. } = open(state, Some("3.5.9")).unwrap();
        assert_eq!((tools.etcd.sha256, tools.etcd.size, &*tools.container), (sha256, 11, "c1"));
        assert_eq!((tools.etcd.name, tools.restorer.name), (ProgramName::Etcd, ProgramName::Etcdutl));
        let mut content = String::new();
        etcd.read_to_string(&mut content).unwrap();
        assert_eq!(content, "etcd 3.5.16");
        assert_eq!((are_kept(state), version_of(state, Some("3.6.0"))), (Some(true), None));
        assert_eq!(version_of(state, None).as_deref(), Some("3.5.16"));
    }

    #[test]
    fn the_version_before_an_upgrade_stays_and_older_ones_and_an_interrupted_copy_are_removed() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path();
        fs::create_dir_all(state.join(DIRECTORY).join(NEW).join("half")).unwrap();
        for version in ["3.5.9", "3.5.16", "3.6.1"] {
            keep(state, programs(version), version, 0).unwrap();
            // Directories of one moment have no order.
            let other = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
            for entry in list(&state.join(DIRECTORY)).unwrap() {
                let modified = entry.metadata().unwrap().modified().unwrap();
                let directory = File::open(entry.path()).unwrap();
                directory.set_modified(modified.min(other) - std::time::Duration::from_secs(60)).unwrap();
            }
        }
        let kept: Vec<String> = list(&state.join(DIRECTORY))
            .unwrap()
            .iter()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(version_of(state, Some("3.5.9")).as_deref(), Some("3.5.16"));
        assert_eq!(version_of(state, Some("3.6.0")).as_deref(), Some("3.6.1"));
        assert_eq!(
            version_of(state, None).as_deref(),
            Some("3.6.1"),
            "the newest where the copy's is unknown"
        );
        let full = keep(state, programs("3.6.2"), "3.6.2", u64::MAX);
        assert!(matches!(full, Err(KeepError::Space(_))));
    }

    #[test]
    fn a_version_never_leads_out_of_the_directory() {
        let sha256 = Digest::of(b"");
        assert_eq!(name_of("../../x 1", sha256), format!("....x1-{sha256}"));
    }
}
