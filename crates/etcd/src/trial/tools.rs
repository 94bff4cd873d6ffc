//! etcd's own programs: where they are, and whether they are of the copy's version.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nightshift_core::proof::ProgramUsed;
use nightshift_core::settings::EtcdTools;
use nightshift_store::process::{self, Limits};
use nightshift_store::{hash_file, offload};
use serde::{Deserialize, Serialize};

use super::child::Launch;
use super::fault::{Fault, Here as _};

/// Where etcd's programs are searched unless a directory is set.
const DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/etcd"];
/// A program prints its version at once, or never.
const VERSION_LIMITS: Limits = Limits { time: Duration::from_secs(20), output: 64 << 10 };

/// One of etcd's programs that a trial runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgramName {
    Etcd,
    Etcdutl,
    Etcdctl,
}

impl ProgramName {
    const ALL: [Self; 3] = [Self::Etcd, Self::Etcdutl, Self::Etcdctl];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Etcdutl => "etcdutl",
            Self::Etcdctl => "etcdctl",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Tools {
    pub launch: Launch,
    /// Where they are from, if that is not the directory in which they are.
    pub origin: Option<String>,
    pub etcd: Program,
    /// etcdutl if it exists; etcdctl lost `snapshot restore` with 3.6.
    pub restorer: Program,
}

#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Tools {
    /// Finds the programs and their versions.
    pub async fn find(directory: Option<&Path>, launch: Launch) -> Result<Self, Fault> {
        let (etcd, restorer) = locate(directory).map_err(Fault::Here)?;
        Ok(Self {
            launch,
            origin: None,
            etcd: Program::new(etcd, "--version", launch).await?,
            restorer: Program::new(restorer, "version", launch).await?,
        })
    }

    /// Refuses programs of another minor version than the copy's: that they can restore it would not prove that its own can.
    pub fn require_version(&self, of_copy: Option<&str>) -> Result<(), Fault> {
        let Some(wanted) = of_copy.and_then(Version::find) else { return Ok(()) };
        match [&self.etcd, &self.restorer].into_iter().find(|program| !program.version.is_like(wanted)) {
            None => Ok(()),
            Some(other) => Err(Fault::Here(format!(
                "{} has version {}, but the snapshot is of etcd {wanted}; set `etcd-tools` in [drill] to a directory with \
                 etcd's programs of that version",
                other.path.display(),
                other.version
            ))),
        }
    }
}

impl Tools {
    /// What a proof says of them. Blocks, because they are hashed.
    pub fn used(&self) -> Result<Vec<ProgramUsed>, Fault> {
        let used = |program: &Program| {
            let path = program.path.display();
            let hashed = hash_file(&program.path).here(|| format!("cannot read {path}"))?;
            let origin = self.origin.clone().unwrap_or_else(|| path.to_string());
            Ok(ProgramUsed {
                name: program.name().into(),
                version: program.version.to_string().into(),
                sha256: hashed.sha256,
                origin: origin.into(),
            })
        };
        [&self.etcd, &self.restorer].into_iter().map(used).collect()
    }
}

impl Program {
    pub(crate) async fn new(path: PathBuf, argument: &str, launch: Launch) -> Result<Self, Fault> {
        let doing = || format!("cannot get the version of {}", path.display());
        let mut command = launch.command(&path);
        command.arg(argument);
        let printed =
            offload::run(move || process::output(&mut command, VERSION_LIMITS)).await.here(doing)?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let version = printed.lines().find_map(|line| {
            let (_, after) = line.split_once(['v', 'V'])?;
            Version::find(after)
        });
        match version {
            Some(version) => Ok(Self { path, version }),
            None => {
                let printed = printed.lines().next().unwrap_or("nothing");
                Err(Fault::Here(format!("{}: it printed `{printed}`", doing())))
            }
        }
    }

    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.etcd.path.parent().unwrap_or(Path::new("/")).display();
        let Self { etcd, restorer, origin, .. } = self;
        let origin = origin.clone().unwrap_or_else(|| directory.to_string());
        write!(f, "etcd {} and {} {} of {origin}", etcd.version, restorer.name(), restorer.version)
    }
}

/// The first of these programs that is installed where the settings say. The error says what to do.
pub fn installed_program(tools: &EtcdTools, names: &[&str]) -> Result<PathBuf, String> {
    find_program(directory_of(tools)?, names)
}

/// The directory that is set; `None` if the usual ones are searched.
pub fn directory_of(tools: &EtcdTools) -> Result<Option<&Path>, String> {
    match tools {
        EtcdTools::Auto => Ok(None),
        EtcdTools::Directory(directory) => Ok(Some(directory)),
        EtcdTools::None => {
            Err("etcd's programs are not used on this host (`etcd-tools = \"none\"` in [drill])".to_owned())
        }
    }
}

/// The first of these programs that exists, in `directory` or else in the usual ones. The error says what to do.
fn find_program(directory: Option<&Path>, names: &[&str]) -> Result<PathBuf, String> {
    let directories: Vec<&Path> = match directory {
        Some(directory) => vec![directory],
        None => DIRECTORIES.iter().map(Path::new).collect(),
    };
    let paths = names.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    paths.clone().find(|path| path.is_file()).ok_or_else(|| {
        let searched: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
        format!(
            "no {} in {}; set `etcd-tools` in [drill] to the directory with etcd's programs",
            names.join(" or "),
            searched.join(", ")
        )
    })
}

fn locate(directory: Option<&Path>) -> Result<(PathBuf, PathBuf), String> {
    Ok((find_program(directory, &["etcd"])?, find_program(directory, &["etcdutl", "etcdctl"])?))
}

/// The directory, without links, if only root or this user can change its programs or the way to them: what names it may be another
/// process, which must not choose what this one runs.
pub fn trusted(directory: &Path) -> Result<PathBuf, Fault> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    /// In such a directory only the owner of an entry can replace it, but any user can add one.
    const STICKY: u32 = 0o1000;
    let real = directory.canonicalize().here(|| format!("cannot use {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = real.ancestors().map(Path::to_owned).collect();
    for program in ProgramName::ALL.map(|name| real.join(name.as_str())).iter().filter(|path| path.exists()) {
        let program = program.canonicalize().here(|| format!("cannot use {}", program.display()))?;
        paths.extend(program.ancestors().map(Path::to_owned));
    }
    for path in paths {
        let found = fs::metadata(&path).here(|| format!("cannot stat {}", path.display()))?;
        let is_sticky = found.is_dir() && path != real && found.mode() & STICKY != 0;
        let by_others = found.mode() & WRITABLE_BY_OTHERS != 0 && !is_sticky;
        if by_others || ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
            return Err(Fault::Here(format!(
                "{} is not run for a drill: users other than root can change {} (owner {}, mode {:o}); give it to root",
                directory.display(),
                path.display(),
                found.uid(),
                found.mode() & 0o7777
            )));
        }
    }
    Ok(real)
}

/// Why a trial would find no installed programs on this host, if so.
pub fn missing_tools(tools: &EtcdTools) -> Option<String> {
    directory_of(tools).and_then(locate).err()
}

impl Version {
    /// The first version in a text such as `etcd Version: 3.4.23`.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
            let mut numbers = word.split('.').map(|number| number.parse().ok());
            Some(Self {
                major: numbers.next()??,
                minor: numbers.next()??,
                patch: numbers.next().flatten().unwrap_or(0),
            })
        })
    }

    pub fn is_like(self, other: Self) -> bool {
        self.minor_version() == other.minor_version()
    }

    /// Without its patch level: what decides which data it reads.
    pub const fn minor_version(self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_each_program_prints() {
        for (text, expected) in [
            ("etcd Version: 3.4.23", "3.4.23"),
            ("etcdctl version: 3.4.23", "3.4.23"),
            ("etcdutl version: 3.5.16", "3.5.16"),
            ("3.2.32", "3.2.32"),
            ("3.6.0-rc.1", "3.6.0"),
        ] {
            assert_eq!(Version::find(text).unwrap().to_string(), expected);
        }
        assert_eq!(Version::find("Git SHA: 1"), None);
    }

    #[test]
    fn a_program_is_found_in_the_directory_that_is_set_or_in_the_usual_ones() {
        let directory = tempfile::tempdir().unwrap();
        let missing = find_program(Some(directory.path()), &["etcdutl", "etcdctl"]).unwrap_err();
        assert!(missing.starts_with("no etcdutl or etcdctl in "), "{missing}");
        fs::write(directory.path().join("etcdctl"), "").unwrap();
        let found = find_program(Some(directory.path()), &["etcdutl", "etcdctl"]).unwrap();
        assert_eq!(found, directory.path().join("etcdctl"));
        let missing = find_program(None, &["no-such-program"]).unwrap_err();
        assert!(missing.contains("/usr/bin, /usr/local/bin, /opt/etcd"), "{missing}");
    }

    #[test]
    fn programs_that_another_user_can_change_are_not_run() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let tools = directory.path().join("tools");
        fs::create_dir(&tools).unwrap();
        fs::write(tools.join("etcd"), "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let etcd = tools.join("etcd");
        for path in [directory.path(), &tools, &etcd] {
            set(path, 0o755);
        }
        assert_eq!(trusted(&tools), Ok(tools.canonicalize().unwrap()));
        for path in [directory.path(), &tools, &etcd] {
            set(path, 0o775);
            let Err(Fault::Here(reason)) = trusted(&tools) else { panic!("accepted") };
            assert!(reason.contains(&format!("can change {} ", path.display())), "{reason}");
            set(path, 0o755);
        }
        set(&tools, 0o1777);
        assert!(matches!(trusted(&tools), Err(Fault::Here(_))), "another user could add etcdutl");
        set(&tools, 0o755);
        // A link is followed once, and what it leads to is checked.
        let elsewhere = directory.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::rename(&etcd, elsewhere.join("etcd")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("etcd"), &etcd).unwrap();
        set(&elsewhere, 0o777);
        assert!(
            matches!(trusted(&tools), Err(Fault::Here(_))),
            "another user could replace the link's target"
        );
        assert!(matches!(trusted(Path::new("/not/there")), Err(Fault::Here(_))));
    }

    #[test]
    fn programs_of_another_minor_version_prove_nothing() {
        let program = |name: &str, version: &str| Program {
            path: Path::new("/usr/bin").join(name),
            version: Version::find(version).unwrap(),
        };
        let launch = Launch::Direct;
        let origin = None;
        let tools =
            Tools { launch, origin, etcd: program("etcd", "3.4.23"), restorer: program("etcdctl", "3.4.23") };
        assert_eq!(tools.require_version(Some("3.4.3")), Ok(()));
        assert_eq!(tools.require_version(None), Ok(()));
        let Err(Fault::Here(reason)) = tools.require_version(Some("3.5.16")) else { panic!("accepted") };
        let expected = "/usr/bin/etcd has version 3.4.23, but the snapshot is of etcd 3.5.16";
        assert!(reason.starts_with(expected), "{reason}");
        assert_eq!(tools.to_string(), "etcd 3.4.23 and etcdctl 3.4.23 of /usr/bin");
    }
}
