//! etcd's own programs: found, and matched with the version of the member that the copy is of.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::child::Child;
use super::fault::{Fault, Here as _};
use super::scratch::Scratch;

const USUAL: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/etcd"];
/// A program that is asked for its version answers at once, or never.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Tools {
    pub etcd: Program,
    /// etcdutl where there is one; etcdctl lost `snapshot restore` with 3.6.
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
    /// Finds the programs and asks each for its version.
    pub async fn find(folder: Option<&Path>, scratch: &Scratch) -> Result<Self, Fault> {
        let (etcd, restorer) = locate(folder).map_err(Fault::Here)?;
        Ok(Self {
            etcd: Program { version: ask(&etcd, "--version", scratch).await?, path: etcd },
            restorer: Program { version: ask(&restorer, "version", scratch).await?, path: restorer },
        })
    }

    /// Refuses programs of another minor version than the copy's: what they made of it would prove nothing.
    pub fn demand_version(&self, of_copy: Option<&str>) -> Result<(), Fault> {
        let Some(wanted) = of_copy.and_then(Version::find) else { return Ok(()) };
        for program in [&self.etcd, &self.restorer] {
            if !program.version.is_like(wanted) {
                return Err(Fault::Here(format!(
                    "{} here is {}, the snapshot is of {wanted}: name matching programs by [drill] etcd-tools",
                    program.name(),
                    program.version
                )));
            }
        }
        Ok(())
    }
}

impl Program {
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.etcd.path.parent().unwrap_or(Path::new("/")).display();
        let Self { etcd, restorer } = self;
        write!(f, "etcd {} and {} {} of {folder}", etcd.version, restorer.name(), restorer.version)
    }
}

/// Where etcd and its restorer lie, or what to do about it where they don't.
fn locate(folder: Option<&Path>) -> Result<(PathBuf, PathBuf), String> {
    let places: Vec<&Path> = match folder {
        Some(folder) => vec![folder],
        None => USUAL.iter().map(Path::new).collect(),
    };
    let find = |name: &str| places.iter().map(|place| place.join(name)).find(|path| path.is_file());
    let lacking = |what: &str| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "no {what} in {}: name a folder with etcd's programs by [drill] etcd-tools",
            places.join(", ")
        )
    };
    let etcd = find("etcd").ok_or_else(|| lacking("etcd binary"))?;
    let restorer = find("etcdutl").or_else(|| find("etcdctl"));
    Ok((etcd, restorer.ok_or_else(|| lacking("etcdutl or etcdctl"))?))
}

/// What a drill would complain of before it began.
pub fn missing_tools(folder: Option<&Path>) -> Option<String> {
    locate(folder).err()
}

async fn ask(program: &Path, word: &str, scratch: &Scratch) -> Result<Version, Fault> {
    let doing = || format!("{} cannot be asked for its version", program.display());
    let log = scratch.path("version.log");
    let file = File::create(&log).here(doing)?;
    let mut child = Child::start(program, &[OsString::from(word)], &file).here(doing)?;
    let status = timeout(PATIENCE, child.end()).await.here(doing)?.here(doing)?;
    let said =
        String::from_utf8_lossy(&nightshift_store::read_bounded(&log, 64 << 10).here(doing)?).into_owned();
    let version = said.lines().find_map(|line| {
        let (_, after) = line.split_once(['v', 'V'])?;
        Version::find(after)
    });
    version.filter(|_| status.success()).ok_or_else(|| {
        let said = said.lines().next().unwrap_or("nothing");
        Fault::Here(format!("{}: it ended with {status} and said: {said}", doing()))
    })
}

impl Version {
    /// The first version in a text: `etcd Version: 3.4.23`.
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

    fn is_like(self, other: Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }

    pub const fn of(major: u32, minor: u32) -> Self {
        Self { major, minor, patch: 0 }
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
    fn programs_of_another_minor_version_prove_nothing() {
        let program = |name: &str, version: &str| Program {
            path: Path::new("/usr/bin").join(name),
            version: Version::find(version).unwrap(),
        };
        let tools = Tools { etcd: program("etcd", "3.4.23"), restorer: program("etcdctl", "3.4.23") };
        assert_eq!(tools.demand_version(Some("3.4.3")), Ok(()));
        assert_eq!(tools.demand_version(None), Ok(()));
        let Err(Fault::Here(reason)) = tools.demand_version(Some("3.5.16")) else { panic!("it went") };
        assert!(reason.starts_with("etcd here is 3.4.23, the snapshot is of 3.5.16"), "{reason}");
        assert_eq!(tools.to_string(), "etcd 3.4.23 and etcdctl 3.4.23 of /usr/bin");
    }
}
