//! A file of fingerprints: lines `host SHA256:…`, one for each key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use nightshift_core::read_bounded;

use crate::commands::CommandError;

/// In bytes: three keys of 20,000 hosts.
const MAX_LEN: u64 = 16 << 20;
/// The base64 of 32 bytes without padding.
const DIGEST_LEN: usize = 43;

/// By the name of a host, in lower case.
#[derive(Debug, Default)]
pub struct Fingerprints(BTreeMap<String, BTreeSet<String>>);

pub fn read(path: &Path) -> Result<Fingerprints, CommandError> {
    // Also from a pipe, such as a shell's `<(…)`.
    let bytes = File::open(path).and_then(|file| read_bounded(file, MAX_LEN));
    let bytes = bytes.map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
    parse(&String::from_utf8_lossy(&bytes))
        .map_err(|(line, problem)| CommandError::Usage(format!("{}:{line}: {problem}", path.display())))
}

/// An error is a line and its problem. A line that is skipped could be the one that matters, so none is.
fn parse(text: &str) -> Result<Fingerprints, (usize, &'static str)> {
    let mut found = Fingerprints::default();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [host, fingerprint] => {
                let fingerprint = fingerprint.trim_end_matches('=');
                let digest = fingerprint.strip_prefix("SHA256:");
                let digest = digest.ok_or((number, "expected a fingerprint that begins with SHA256:"))?;
                let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
                if digest.len() != DIGEST_LEN || !digest.chars().all(is_base64) {
                    return Err((number, "invalid fingerprint; write it as `ssh-keygen -lf` prints it"));
                }
                found.0.entry(host.to_ascii_lowercase()).or_default().insert(fingerprint.to_owned());
            }
            _ => return Err((number, "expected `host SHA256:…`")),
        }
    }
    Ok(found)
}

impl Fingerprints {
    /// Those of a host, by its name in the config, or of a remote, by its address. Several hosts may share an address with different
    /// ports, so that of a host does not identify it.
    pub fn of(&self, label: &str) -> Option<&BTreeSet<String>> {
        self.0.get(&label.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_host_and_a_fingerprint_or_an_error_with_its_number() {
        let digest = "a".repeat(43);
        let text = format!(
            "# hosts\n\nN1.example.com  SHA256:{digest}=\nn1.example.com SHA256:{}\n",
            "b".repeat(43)
        );
        let found = parse(&text).unwrap();
        assert_eq!(found.0["n1.example.com"].len(), 2);
        assert!(found.0["n1.example.com"].contains(&format!("SHA256:{digest}")));
        for bad in [
            "n1",
            "n1 MD5:aa:bb",
            "n1 SHA256:short",
            "n1 SHA256:x y",
            &format!("n1 SHA256:{}!", "a".repeat(42)),
        ] {
            assert_eq!(parse(&format!("\n{bad}\n")).unwrap_err().0, 2, "{bad}");
        }
    }
}
