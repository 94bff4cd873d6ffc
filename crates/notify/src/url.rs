//! The URL of a target, read from where the config says.

use std::io;
use std::path::{Path, PathBuf};

use nightshift_core::address::{bracketed, host_and_port};
use nightshift_core::notify::Secret;
use percent_encoding::percent_decode_str;

use crate::{SendError, file};

/// The maximum length of a URL in bytes.
const MAX_LEN: u64 = 4096;

pub struct Url {
    pub scheme: String,
    /// The user and the password, decoded.
    pub login: Option<(String, String)>,
    pub host: String,
    pub port: Option<u16>,
    /// With the query.
    path: String,
}

impl Url {
    pub fn read(secret: &Secret) -> Result<Self, SendError> {
        match secret {
            Secret::Inline(url) => Self::parse(url),
            Secret::File(path) => Self::read_file(path),
            Secret::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
                let path = directory.map(|directory| directory.join(name)).filter(|path| path.exists());
                Self::read_file(&path.ok_or_else(|| SendError::NoCredential(name.clone()))?)
            }
        }
    }

    fn read_file(path: &Path) -> Result<Self, SendError> {
        let failed = |source| SendError::ReadUrl { path: path.to_owned(), source };
        let bytes = file::read(path, MAX_LEN).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| failed(io::Error::other("it is not UTF-8")))?;
        if text.trim().is_empty() {
            return Err(failed(io::Error::other("it is empty")));
        }
        Self::parse(text.trim())
    }

    pub(crate) fn parse(text: &str) -> Result<Self, SendError> {
        let bad = SendError::BadUrl;
        if !text.chars().all(|c| c.is_ascii_graphic()) || text.contains('#') {
            return Err(bad("write one line without spaces and without `#`"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(bad("it has no scheme, such as https://"))?;
        let ends = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(ends);
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(Self::login(login)?), address),
            None => (None, authority),
        };
        let (host, port) = host_and_port(address).ok_or(bad("it has no host, or an invalid port"))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme: scheme.to_ascii_lowercase(), login, host, port, path })
    }

    fn login(text: &str) -> Result<(String, String), SendError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decoded = |text| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(Into::into).map_err(|_| SendError::BadUrl("its login is not UTF-8 when decoded"))
        };
        Ok((decoded(user)?, decoded(password)?))
    }

    /// Adds to the path, and to the query.
    pub fn append(&mut self, path: &str, query: Option<(&str, &str)>) {
        let (before, old) = match self.path.split_once('?') {
            Some((before, old)) => (before, Some(old)),
            None => (self.path.as_str(), None),
        };
        let before = if path.is_empty() { before } else { before.trim_end_matches('/') };
        let new = query.map(|(key, value)| format!("{key}={value}"));
        let query: Vec<&str> =
            old.into_iter().chain(new.as_deref()).filter(|part| !part.is_empty()).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        self.path = format!("{before}{path}{mark}{}", query.join("&"));
    }

    /// Removes the last part of the path and returns it.
    pub fn take_last_segment(&mut self) -> Option<String> {
        let (before, query) = match self.path.split_once('?') {
            Some((before, query)) => (before, format!("?{query}")),
            None => (self.path.as_str(), String::new()),
        };
        let (rest, last) = before.trim_end_matches('/').rsplit_once('/')?;
        let last = Some(last.to_owned()).filter(|last| !last.is_empty())?;
        self.path = format!("{rest}/{query}");
        Some(last)
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// As in a header.
    pub fn authority(&self) -> String {
        let host = bracketed(&self.host);
        self.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_file_that_is_no_url_is_refused_at_once_and_its_name_is_in_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        let refused =
            |path: &Path| nightshift_core::chain(&Url::read(&Secret::File(path.to_owned())).err().unwrap());
        assert!(refused(&path).contains("No such file"), "{}", refused(&path));
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(refused(&path).ends_with("it is not a regular file"), "{}", refused(&path));
        fs::remove_file(&path).unwrap();
        let long = format!("https://h/{}", "x".repeat(5000));
        for (content, reason) in [("\n", "it is empty"), (long.as_str(), ""), ("hc/secret", "no scheme")] {
            fs::write(&path, content).unwrap();
            assert!(refused(&path).contains(reason), "{}", refused(&path));
            assert!(!refused(&path).contains("secret"));
        }
        assert!(refused(Path::new("/dev/zero")).contains("/dev/zero: it is not a regular file"));
        fs::write(&path, "https://h/x\n").unwrap();
        assert!(Url::read(&Secret::File(path)).is_ok());
    }

    #[test]
    fn a_ping_extends_the_path_and_the_query_of_its_url() {
        let appended = |text: &str, path, query| {
            let mut url = Url::parse(text).unwrap();
            url.append(path, query);
            url.path().to_owned()
        };
        assert_eq!(appended("https://hc/uuid", "/start", Some(("rid", "1"))), "/uuid/start?rid=1");
        assert_eq!(appended("https://hc/uuid/", "/fail", None), "/uuid/fail");
        assert_eq!(appended("https://hc/uuid?create=1", "", Some(("rid", "1"))), "/uuid?create=1&rid=1");
        assert_eq!(appended("https://hc", "", None), "/");
    }

    #[test]
    fn a_login_is_decoded_and_an_ntfy_topic_is_the_last_part_of_the_path() {
        let mut url = Url::parse("https://me:p%40ss@[fd00::1]:8443/ns/alerts?x=1").unwrap();
        assert_eq!(url.login, Some(("me".into(), "p@ss".into())));
        assert_eq!((url.authority().as_str(), url.port), ("[fd00::1]:8443", Some(8443)));
        assert_eq!(url.take_last_segment().as_deref(), Some("alerts"));
        assert_eq!(url.path(), "/ns/?x=1");
        assert_eq!(Url::parse("https://ntfy.sh/").unwrap().take_last_segment(), None);
    }

    #[test]
    fn an_invalid_url_is_refused_without_being_repeated() {
        for bad in [
            "hc.example/secret",
            "https:///secret",
            "https://h:99999/secret",
            "https://h/a secret",
            "https://h/#secret",
        ] {
            let error = Url::parse(bad).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
