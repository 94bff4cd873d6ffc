//! The package that a lab's hosts install: the one that `NIGHTSHIFT_DEB` names, or one made of this checkout in a hurry.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use super::error::{Error, Result};
use super::folder;

/// The .deb. Without `NIGHTSHIFT_DEB` it is made once per test run, around the binary that tests build: unoptimised, so
/// that it is there in seconds.
pub fn package() -> Result<PathBuf> {
    if let Some(given) = env::var_os("NIGHTSHIFT_DEB") {
        return Ok(given.into());
    }
    let packages = folder().join("package");
    fs::create_dir_all(&packages).map_err(Error::io(format!("making {}", packages.display())))?;
    // Beside it: a folder with a lock in it is a lab.
    let lock_path = packages.with_extension("lock");
    let lock = File::create(&lock_path).map_err(Error::io(format!("making {}", lock_path.display())))?;
    lock.lock().map_err(Error::io(format!("locking {}", lock_path.display())))?;

    let (deb, made_by) = (packages.join("nightshift.deb"), packages.join("made-by"));
    let this_run = this_run();
    if fs::read_to_string(&made_by).is_ok_and(|run| run == this_run) {
        return Ok(deb);
    }
    make(&deb)?;
    fs::write(&made_by, this_run).map_err(Error::io(format!("writing {}", made_by.display())))?;
    Ok(deb)
}

/// nextest gives every test a process of its own, and all of them the name of the run.
fn this_run() -> String {
    env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| process::id().to_string())
}

/// What `cargo xtask package` does, but with the profile of the tests.
fn make(deb: &Path) -> Result<()> {
    let target = folder().with_file_name("debug");
    run(cargo().args(["build", "--package", "nightshift"]))?;
    let generated = target.join("generated");
    if generated.exists() {
        fs::remove_dir_all(&generated).map_err(Error::io(format!("removing {}", generated.display())))?;
    }
    run(Command::new(target.join("nightshift")).arg("generate").arg(generated))?;
    run(cargo()
        .args(["deb", "--package", "nightshift", "--profile", "dev", "--no-build", "--strip", "--fast"])
        .arg("--output")
        .arg(deb))
}

/// Without what cargo tells this test of its own package: build scripts look at it, and would build everything anew.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(""));
    command
}

/// It needs the caller's environment, unlike what runs in the lab, and takes as long as a compiler takes.
fn run(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    let output = (command.stdin(Stdio::null()).output()).map_err(Error::io(format!("starting `{line}`")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        line,
        status: output.status.code().unwrap_or(-1),
        stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    })
}
