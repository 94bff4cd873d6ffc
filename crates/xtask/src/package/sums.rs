//! `SHA256SUMS` of the files in the packages' directory, and its signature.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::run::{command, output, step};

/// The private key of ssh that signs the sums, if it is set.
const KEY: &str = "NIGHTSHIFT_SIGNING_KEY";

/// The `-n` of `ssh-keygen -Y verify`.
const NAMESPACE: &str = "nightshift-packages";

pub fn write(packages: &Path) -> Result<()> {
    write_signed(packages, env::var_os(KEY).as_deref())
}

fn write_signed(packages: &Path, key: Option<&OsStr>) -> Result<()> {
    let path = packages.join("SHA256SUMS");
    fs::write(&path, of(packages)?).map_err(Error::io("write", &path))?;
    match key {
        Some(key) => {
            let mut sign = command(&["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f"]);
            step(sign.arg(key).arg(&path))
        }
        None => {
            println!("{} is not signed: {KEY} names no key", path.display());
            Ok(())
        }
    }
}

/// As `sha256sum` prints them, so that `sha256sum --check` reads them.
pub fn of(packages: &Path) -> Result<String> {
    let entries = fs::read_dir(packages).map_err(Error::io("list", packages))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", packages))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.starts_with("SHA256SUMS") {
            names.push(name);
        }
    }
    names.sort();
    let directory = packages.to_string_lossy();
    let mut line = vec!["env", "--chdir", &directory, "sha256sum", "--"];
    line.extend(names.iter().map(String::as_str));
    output(&line)
        .map(|sums| sums + "\n")
        .ok_or_else(|| Error::Missing(format!("sha256sum cannot read what is in {directory}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_signed_sums_are_those_of_the_packages_and_edited_ones_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (packages, key) = (directory.path().join("packages"), directory.path().join("key"));
        fs::create_dir(&packages).unwrap();
        fs::write(packages.join("nightshift.deb"), "a package").unwrap();
        let mut new_key = command(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]);
        step(new_key.arg(&key)).unwrap();
        write_signed(&packages, Some(key.as_os_str())).unwrap();

        step(command(&["sha256sum", "--check", "SHA256SUMS"]).current_dir(&packages)).unwrap();
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let allowed = directory.path().join("allowed");
        fs::write(&allowed, format!("maintainers {public}")).unwrap();
        let sums = packages.join("SHA256SUMS");
        let verify = || {
            let words = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", "maintainers", "-f"];
            let mut verify = command(&words);
            verify.arg(&allowed).arg("-s").arg(packages.join("SHA256SUMS.sig"));
            step(verify.stdin(File::open(&sums).unwrap()))
        };
        verify().unwrap();
        fs::write(&sums, fs::read_to_string(&sums).unwrap().replace("nightshift", "another")).unwrap();
        verify().unwrap_err();
    }
}
