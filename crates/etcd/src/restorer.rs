//! The etcdutl for restores: one that can raise the revision. It is not of the members' version, but restores older ones too.

use std::path::{Path, PathBuf};

use nightshift_core::settings::Settings;

use crate::trial::child::Launch;
use crate::trial::fault::Fault;
use crate::trial::tools::{Program, ProgramName, Version, trusted};

/// The first with `--bump-revision` and `--mark-compacted` (docs/facts/etcd.md#restore).
pub const OLDEST: Version = Version { major: 3, minor: 5, patch: 10 };
const REMEDY: &str = "unpack an etcd of 3.5.10 or later, and set `restore-tools` in [etcd] to its directory";

/// Finds it, and its version. The error says what to do.
pub async fn find(settings: &Settings) -> Result<Program, String> {
    let path = configured(settings)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let reason = |fault: Fault| fault.reason().to_owned();
    let directory = trusted(directory).map_err(reason)?;
    let path = directory.join(ProgramName::Etcdutl.as_str());
    require_version(Program::new(path, "version", Launch::Direct).await.map_err(reason)?)
}

fn require_version(program: Program) -> Result<Program, String> {
    if program.version >= OLDEST {
        return Ok(program);
    }
    let (path, version) = (program.path.display(), program.version);
    Err(format!("{path} has version {version}, which cannot raise the revision; {REMEDY}"))
}

/// Why there is none, by the files alone.
pub fn absent(settings: &Settings) -> Option<String> {
    configured(settings).err()
}

fn configured(settings: &Settings) -> Result<PathBuf, String> {
    let Some(directory) = &settings.etcd.restore_tools else {
        return Err(format!("no etcdutl for restores is configured, so the kit has none; {REMEDY}"));
    };
    let path = directory.join(ProgramName::Etcdutl.as_str());
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} does not exist, so the kit has no etcdutl for restores; {REMEDY}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etcdutl_that_cannot_raise_the_revision_is_refused() {
        let of = |version: &str| {
            let version = Version::find(version).unwrap();
            require_version(Program { path: "/opt/etcd/etcdutl".into(), version })
        };
        assert!(of("3.5.10").is_ok() && of("3.6.0").is_ok());
        let refused = of("3.5.9").unwrap_err();
        assert!(refused.starts_with("/opt/etcd/etcdutl has version 3.5.9, which cannot raise"), "{refused}");
        assert!(of("3.4.27").is_err());
    }
}
