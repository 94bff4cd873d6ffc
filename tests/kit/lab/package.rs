//! The packages, as `packaging/nfpm.yaml` describes them, around whatever program was built.

use std::env::{self, consts};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use super::cmd::Cmd;
use super::error::{Error, Result};
use super::{el7, folder, root, tools};
use crate::daemon::program;

/// The .deb that a lab's hosts install: made once per test run, around the program that the tests run.
pub fn package() -> Result<PathBuf> {
    let packages = folder().join("package");
    // Beside it: a directory with a lock in it is a lab.
    let lock_path = packages.with_extension("lock");
    fs::create_dir_all(folder()).map_err(Error::io(format!("making {}", folder().display())))?;
    let lock = File::create(&lock_path).map_err(Error::io(format!("making {}", lock_path.display())))?;
    lock.lock().map_err(Error::io(format!("locking {}", lock_path.display())))?;

    let made_by = packages.join("made-by");
    let this_run = this_run();
    if fs::read_to_string(&made_by).is_ok_and(|run| run == this_run) {
        return find(&packages, ".deb");
    }
    let deb = Contents::of(&program()?, &packages)?.pack("deb")?;
    fs::write(&made_by, this_run).map_err(Error::io(format!("writing {}", made_by.display())))?;
    Ok(deb)
}

/// nextest gives every test a process of its own, and all of them the name of the run.
fn this_run() -> String {
    env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| process::id().to_string())
}

/// What goes into the packages beside files of the source tree: the program, and what it generates about itself.
pub struct Contents {
    packages: PathBuf,
    staged: PathBuf,
    glibc: String,
    /// Of all files in them, in seconds of the Unix epoch; else their own.
    time: Option<String>,
}

impl Contents {
    /// Stages them in the directory that the packages will be written to, which is emptied first.
    pub fn of(program: &Path, packages: &Path) -> Result<Self> {
        if packages.exists() {
            fs::remove_dir_all(packages).map_err(Error::io(format!("removing {}", packages.display())))?;
        }
        let staged = packages.join("contents");
        fs::create_dir_all(&staged).map_err(Error::io(format!("making {}", staged.display())))?;
        let (stripped, generated) = (staged.join("nightshift"), staged.join("generated"));
        Cmd::new("strip").arg("-o").arg(&stripped).arg(program).run()?;
        Cmd::new(&stripped).arg("generate").arg(&generated).run()?;
        let glibc = newest_glibc(&stripped)?;
        Ok(Self { packages: packages.to_owned(), staged, glibc, time: None })
    }

    /// The newest version of the C library that the program needs, such as `2.34`.
    pub fn glibc(&self) -> &str {
        &self.glibc
    }

    /// All files get this time, in seconds of the Unix epoch.
    pub fn built_at(self, time: &str) -> Self {
        Self { time: Some(time.to_owned()), ..self }
    }

    /// Makes the package of a format, `deb` or `rpm`.
    pub fn pack(&self, format: &str) -> Result<PathBuf> {
        self.pack_as(Path::new("packaging/nfpm.yaml"), format)?;
        find(&self.packages, &format!(".{format}"))
    }

    /// Makes the rpm for Enterprise Linux 7.
    pub fn pack_el7(&self) -> Result<PathBuf> {
        self.pack_as(&el7::stage(&self.staged.join("el7"))?, "rpm")?;
        find(&self.packages, &format!(".el7.{}.rpm", consts::ARCH))
    }

    fn pack_as(&self, description: &Path, format: &str) -> Result<()> {
        let nfpm = tools().join("pinned/bin/nfpm");
        if !nfpm.exists() {
            return Err(Error::Refused(format!("{} is missing; run `cargo xtask setup`", nfpm.display())));
        }
        let mut pack = Cmd::new(nfpm);
        if let Some(time) = &self.time {
            pack = pack.env("SOURCE_DATE_EPOCH", time);
        }
        pack.args(["package", "--config"])
            .arg(description)
            .args(["--packager", format, "--target"])
            .arg(&self.packages)
            .env("STAGED", &self.staged)
            .env("VERSION", env!("CARGO_PKG_VERSION"))
            .env("ARCH", architecture())
            .env("GLIBC", &self.glibc)
            .current_dir(root())
            .timeout(Duration::from_secs(120))
            .run()?;
        Ok(())
    }
}

fn find(packages: &Path, ending: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(packages).map_err(Error::io(format!("listing {}", packages.display())))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| path.to_string_lossy().ends_with(ending)).ok_or_else(|| {
        Error::Refused(format!("there is no {ending} in {} although it was made", packages.display()))
    })
}

/// As Debian calls it; nfpm translates it for other formats.
fn architecture() -> &'static str {
    match consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The newest version of the C library that the program names a symbol of, such as `2.34`: hosts need this one or a newer one.
fn newest_glibc(program: &Path) -> Result<String> {
    let headers = Cmd::new("objdump").arg("--private-headers").arg(program).run()?.text();
    let versions = headers.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_"));
    let by_number =
        |version: &&str| -> Vec<u32> { version.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    (versions.max_by_key(by_number).map(str::to_owned))
        .ok_or_else(|| Error::Refused(format!("{} names no symbol of the C library", program.display())))
}
