//! etcd's options by the names of its environment variables, wherever they are written: etcd.conf, etcd.conf.yml, flags or a
//! pod's env.

pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The maximum size of a member's configuration and of a certificate bundle, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// `ETCD_NAME` → `etcd1.example.com`. A flag `--name` is the variable `ETCD_NAME`, as etcd itself has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// The value of the first of `names` that is set and not empty.
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name)).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn set(&mut self, name: &str, value: &str) {
        // An empty variable counts as not set: etcd.conf lists many of them.
        if name.starts_with("ETCD_") && !value.is_empty() {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    pub fn set_flag(&mut self, flag: &str, value: &str) {
        self.set(&format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_")), value);
    }

    /// Reads a configuration file of etcd: an environment file, or YAML.
    pub fn read(text: &str) -> Result<Self, serde_saphyr::Error> {
        let mut options = Self::default();
        if yaml::is_yaml(text) {
            yaml::flags(text)?.iter().for_each(|(flag, value)| options.set_flag(flag, value));
        } else {
            options.read_environment(text);
        }
        Ok(options)
    }

    /// Reads an environment file as both systemd and a shell's `source` do: `KEY="value"`, `#` and `;` start a comment, and the
    /// last value of a key counts.
    pub fn read_environment(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            if let Some((name, value)) = line.split_once('=') {
                self.set(name.trim(), unquoted(value.trim()));
            }
        }
    }
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.split(quote).next()) {
            return inner;
        }
    }
    // What follows a space is a comment or another word, never part of the value.
    value.split_whitespace().next().unwrap_or_default()
}

/// Reads a small regular file.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = nightshift_core::read_bounded(nightshift_store::open_regular(path)?, MAX_BYTES)?;
    // Some editors put a byte order mark before the first line, which then is not recognised.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_is_read_with_its_quotes_comments_and_empty_values() {
        let mut options = Options::default();
        options.read_environment(
            "# ETCD_NAME=commented\nETCD_NAME=one # the first\n ETCD_DATA_DIR=\"/var/lib/etcd/\"\n\
             ETCD_WAL_DIR=\n#[Security]\nexport ETCD_CA_FILE='/etc/etcd/ca.crt'\nPATH=/bin\nnonsense\nETCD_NAME=two\n",
        );
        let all: Vec<_> = options.iter().collect();
        assert_eq!(
            all,
            [("ETCD_CA_FILE", "/etc/etcd/ca.crt"), ("ETCD_DATA_DIR", "/var/lib/etcd/"), ("ETCD_NAME", "two")]
        );
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd.conf");
        std::fs::write(&path, "\u{feff}ETCD_NAME=one\n").unwrap();
        assert_eq!(read_small(&path).unwrap(), b"ETCD_NAME=one\n");
    }

    #[test]
    fn a_pipe_is_refused_instead_of_being_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(read_small(&pipe).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
