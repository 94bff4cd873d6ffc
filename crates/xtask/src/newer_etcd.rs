//! etcd 3.5 beside the installed one: Debian 13's packages, unpacked below `target/` and never installed.
//!
//! apt downloads them from the mirror of this machine's own release, and verifies them with the same keyring.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::run::{command, output, step, succeeds};
use crate::workspace::{self, emptied};

const SUITE: &str = "trixie";
const PACKAGES: [&str; 2] = ["etcd-client", "etcd-server"];
const PROGRAMS: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];

/// Makes `target/tools/etcd-3.5/usr/bin`, or prints why it cannot; tests that need it fail or skip by themselves.
pub fn ensure() -> Result<()> {
    let folder = workspace::tools().join("etcd-3.5");
    if folder.exists() {
        return Ok(());
    }
    if let Err(error) = unpack(&folder) {
        println!("skipping etcd 3.5: {}", on_one_line(&error));
    }
    Ok(())
}

/// Unpacked elsewhere, then renamed: a directory with the final name is complete, and its programs start on this machine.
fn unpack(folder: &Path) -> Result<()> {
    if !succeeds(&["apt-get", "--version"]) {
        return Err(Error::Missing("apt-get is missing".to_owned()));
    }
    let source = source_of_suite()?;
    println!("unpacking etcd 3.5 of {SUITE}");
    let apt = Apt::fresh(&workspace::tools().join("apt"), &source)?;
    step(apt.get("update").arg("--quiet=2"))?;
    step(apt.get("download").arg("--quiet=2").args(PACKAGES))?;
    let partial = folder.with_file_name("etcd-3.5.partial");
    emptied(&partial)?;
    for package in apt.downloaded()? {
        step(command(&["dpkg-deb", "--extract"]).arg(package).arg(&partial))?;
    }
    for program in PROGRAMS {
        let path = partial.join("usr/bin").join(program);
        let word = if program == "etcd" { "--version" } else { "version" };
        if !succeeds(&[&path.to_string_lossy(), word]) {
            return Err(Error::Missing(format!("{SUITE}'s {program} does not start on this machine")));
        }
    }
    fs::rename(&partial, folder).map_err(Error::io("rename", partial))?;
    fs::remove_dir_all(&apt.0).map_err(Error::io("remove", &apt.0))
}

/// apt with lists and a cache of its own: the machine's lists, cache and packages do not change.
struct Apt(PathBuf);

impl Apt {
    fn fresh(folder: &Path, source: &str) -> Result<Self> {
        emptied(folder)?;
        for part in ["state/lists/partial", "cache/archives/partial", "parts"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(Error::io("make", &part))?;
        }
        let list = folder.join("suite.sources");
        fs::write(&list, source).map_err(Error::io("write", &list))?;
        Ok(Self(folder.to_owned()))
    }

    fn get(&self, word: &str) -> std::process::Command {
        let mut apt = command(&["apt-get", word]);
        for (option, place) in [
            ("Dir::Etc::SourceList", "suite.sources"),
            ("Dir::Etc::SourceParts", "parts"),
            ("Dir::State", "state"),
            ("Dir::Cache", "cache"),
        ] {
            apt.arg("-o").arg(format!("{option}={}", self.0.join(place).display()));
        }
        // apt's own user may not be able to reach this directory.
        apt.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]);
        apt.args(["-o", "Acquire::Retries=3"]).current_dir(&self.0);
        apt
    }

    fn downloaded(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.0).map_err(Error::io("read", &self.0))?;
        let packages = entries.flatten().map(|entry| entry.path());
        Ok(packages.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect())
    }
}

/// The apt source of the suite: the machine's own source of its release, with the suite's name in its place.
fn source_of_suite() -> Result<String> {
    let release = output(&["sh", "-c", ". /etc/os-release && echo \"$ID $VERSION_CODENAME\""]);
    let release = release.unwrap_or_default();
    let Some(release) = release.strip_prefix("debian ") else {
        return Err(Error::Missing(format!("it is a package of Debian, and this machine runs `{release}`")));
    };
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let files = parts.map(|entry| entry.path()).chain([PathBuf::from("/etc/apt/sources.list")]);
    files
        .filter_map(|file| {
            let text = fs::read_to_string(&file).ok()?;
            match file.extension()?.to_str()? {
                "sources" => of_stanzas(&text, release),
                "list" => of_lines(&text, release),
                _ => None,
            }
        })
        .next()
        .ok_or_else(|| Error::Missing(format!("no apt source below /etc/apt has {release} main")))
}

/// Of deb822 stanzas, with a blank line between two.
fn of_stanzas(text: &str, release: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let words = |name: &str| {
            let line = stanza.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().split_whitespace().collect::<Vec<_>>()
        };
        let fits = words("Types").contains(&"deb")
            && words("Suites").contains(&release)
            && words("Components").contains(&"main");
        fits.then(|| {
            let kept = stanza.iter().filter(|line| {
                !["Types:", "Suites:", "Components:"].iter().any(|name| line.starts_with(name))
            });
            let kept: String = kept.map(|line| format!("{line}\n")).collect();
            format!("Types: deb\nSuites: {SUITE}\nComponents: main\n{kept}")
        })
    })
}

/// Of lines `deb [OPTIONS] URI SUITE COMPONENT…`.
fn of_lines(text: &str, release: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let entry = line.trim().strip_prefix("deb ")?.trim();
        let (options, entry) = match entry.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']')?,
            None => ("", entry),
        };
        let mut words = entry.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        (suite == release && words.any(|word| word == "main")).then(|| {
            let signed_by = options.split_whitespace().find_map(|word| word.strip_prefix("signed-by="));
            let signed_by = signed_by.map_or(String::new(), |keys| format!("Signed-By: {keys}\n"));
            format!("Types: deb\nSuites: {SUITE}\nComponents: main\nURIs: {uri}\n{signed_by}")
        })
    })
}

fn on_one_line(error: &Error) -> String {
    let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_own_entry_serves_with_the_other_suite() {
        let stanzas = "# dated\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n\
                       Components: main\n\nTypes: deb deb-src\n# dated\nURIs: http://mirror.example/debian\n\
                       Suites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /keys.gpg\n";
        let expected = "Types: deb\nSuites: trixie\nComponents: main\nURIs: http://mirror.example/debian\n";
        assert_eq!(of_stanzas(stanzas, "bookworm"), Some(format!("{expected}Signed-By: /keys.gpg\n")));
        assert_eq!(of_stanzas(stanzas, "bullseye"), None);

        let lines = "deb http://mirror.example/security bookworm-security main\n\
                     deb-src http://mirror.example/debian bookworm main\n\
                     deb http://mirror.example/debian bookworm contrib\n";
        assert_eq!(of_lines(lines, "bookworm"), None);
        let plain = format!("{lines}deb http://mirror.example/debian bookworm main\n");
        assert_eq!(of_lines(&plain, "bookworm"), Some(expected.to_owned()));
        let signed = format!(
            "{lines}deb [arch=amd64 signed-by=/keys.gpg] http://mirror.example/debian bookworm main\n"
        );
        assert_eq!(of_lines(&signed, "bookworm"), Some(format!("{expected}Signed-By: /keys.gpg\n")));
    }
}
