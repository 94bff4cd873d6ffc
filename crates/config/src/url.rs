//! The two kinds of URL in a config: an etcd endpoint and a remote.

use nightshift_core::address::{bracketed, host_and_port};
use nightshift_core::settings::Remote;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::check;
use crate::refusal::Refusal;
use crate::show::Shown;

/// The URL of a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpUrl {
    pub user: String,
    pub address: String,
    pub port: Option<u16>,
    pub path: String,
    /// As in the config.
    pub(crate) text: String,
}

impl Shown for SftpUrl {
    fn shown(&self) -> String {
        self.text.shown()
    }
}

const FORM: &str = "write it as `sftp://USER@HOST/DIRECTORY` or `sftp://USER@HOST:PORT/DIRECTORY`; `/~/DIRECTORY` is below the login's own directory";

pub(crate) fn sftp(text: &str) -> Result<SftpUrl, Refusal> {
    let refused = |why: &str| Refusal::new(format!("`{text}` {why}")).help(FORM);
    if !text.contains("://") {
        // A password would not be recognised in it, so the message does not repeat the text.
        return Err(Refusal::new("this is not an sftp URL").help(FORM));
    }
    let rest = text.strip_prefix("sftp://").ok_or_else(|| refused("is not an sftp URL"))?;
    let (authority, directory) = rest.split_once('/').ok_or_else(|| refused("has no directory"))?;
    let (user, host) = authority.rsplit_once('@').ok_or_else(|| refused("has no user"))?;
    if user.contains(':') {
        // The message does not repeat the password.
        return Err(Refusal::new("this URL contains a password")
            .help("remove the password; nightshift logs in with the key in `identity`"));
    }
    let (address, port) = host_and_port(host).ok_or_else(|| refused("has no host, or an invalid port"))?;
    let path = remote_directory(&decoded(directory)?)?;
    let (user, address) = (check::user(&decoded(user)?)?, check::address(&address)?);
    Ok(SftpUrl { user, address, port, path, text: text.to_owned() })
}

/// What has a meaning in a URL (RFC 3986, section 2.2), or ends one in a text.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'"')
    .add(b'\'')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'?')
    .add(b'#')
    .add(b'\\');
const ESCAPED_IN_USER: &AsciiSet = &ESCAPED.add(b'/').add(b':').add(b'@');

/// The URL of a remote, as it may be in a config.
pub(crate) fn of_remote(remote: &Remote) -> String {
    let user = utf8_percent_encode(&remote.user, ESCAPED_IN_USER);
    let (host, port) = (bracketed(&remote.address), remote.port);
    // The login's own directory is `.`, and what is below it has no `/` at its start.
    let (lead, path) = match remote.path.as_str() {
        "." => ("/~/", ""),
        path if path.starts_with('/') => ("", path),
        path => ("/~/", path),
    };
    format!("sftp://{user}@{host}:{port}{lead}{}", utf8_percent_encode(path, ESCAPED))
}

/// The text with its percent escapes (RFC 3986, section 2.1) decoded.
fn decoded(text: &str) -> Result<String, Refusal> {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if text.split('%').skip(1).any(|rest| !is_escape(rest)) {
        return Err(Refusal::new(format!(
            "`{text}` contains a `%` that two hexadecimal digits do not follow"
        ))
        .help("write a `%` that is part of a name as `%25`"));
    }
    let bytes = percent_encoding::percent_decode_str(text);
    let text =
        bytes.decode_utf8().map_err(|_| Refusal::new(format!("`{text}` is not UTF-8 when decoded")))?;
    Ok(text.into_owned())
}

/// The directory as SFTP names it: a relative path starts in the login's own directory.
fn remote_directory(directory: &str) -> Result<String, Refusal> {
    let own = directory.strip_prefix('~');
    match own {
        Some("" | "/") => return Ok(".".to_owned()),
        Some(below) if !below.starts_with('/') => {
            return Err(Refusal::new(format!("`/{directory}` begins with another user's `~`"))
                .help("write the absolute path; `/~/` is the login's own directory"));
        }
        _ => {}
    }
    let path = own.map_or_else(|| format!("/{directory}"), ToOwned::to_owned);
    check::straight(&path)?;
    Ok(if own.is_some() { path[1..].to_owned() } else { path })
}

/// Checks `http(s)://host:port`.
pub(crate) fn endpoint(text: &String) -> Result<String, Refusal> {
    let refused = |why: &str| {
        Refusal::new(format!("`{text}` {why}"))
            .help("write it as `https://HOST:PORT`; HOST must be a name in the member's certificate")
    };
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(|| refused("is not an http or https URL"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        return Err(refused("contains more than a host and a port"));
    }
    let (address, port) = host_and_port(rest).ok_or_else(|| refused("has no host, or an invalid port"))?;
    if port.is_none() {
        return Err(refused("has no port"));
    }
    check::address(&address)?;
    Ok(text.strip_suffix('/').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::fixtures;

    use super::*;

    #[test]
    fn the_url_of_a_remote_reads_as_that_remote() {
        for text in [
            "sftp://u@b.example.com:2222/~/backups",
            "sftp://u@b.example.com:22/~/",
            "sftp://u@[2001:db8::5]:22/srv/b",
            "sftp://u@h:22/srv/it%27s%20100%25",
            "sftp://DOMAIN%5CBackup%20User%40x@h:22/",
            "sftp://u@h:22/x%27;touch%20PWN;%27",
        ] {
            let SftpUrl { user, address, port, path, .. } = sftp(text).unwrap();
            let remote = Remote { user, ..fixtures::remote("far", &address, port.unwrap(), &path) };
            assert_eq!(of_remote(&remote), text);
        }
    }

    #[test]
    fn a_remote_has_a_user_a_host_and_a_directory() {
        let url = sftp("sftp://cloud-user@128.31.22.168/home/cloud-user").unwrap();
        assert_eq!(
            (url.user.as_str(), url.address.as_str(), url.port),
            ("cloud-user", "128.31.22.168", None)
        );
        assert_eq!(url.path, "/home/cloud-user");
        assert_eq!(sftp("sftp://b@h/").unwrap().path, "/");
        let url = sftp("sftp://b@[fd00::1]:2222/x").unwrap();
        assert_eq!((url.address.as_str(), url.port), ("fd00::1", Some(2222)));
        for bad in [
            "",
            "scp://a@b/c",
            "sftp://b/c",
            "sftp://a@b",
            "sftp://a@b:0/c",
            "sftp://a@b:x/c",
            "sftp://a:pw@b/c",
            "sftp://a@/c",
            "sftp://a@b/../c",
            "sftp://a@b c/d",
            "sftp://a@b/100%",
            "sftp://a@b/%zz",
            "sftp://a@b/%00",
            "sftp://a@b/%ff",
            "sftp://a@b/x/%2e%2e/y",
            "sftp://a@b/~root/x",
            "sftp://%0a@b/x",
            "sftp://%20b@c/x",
        ] {
            assert!(sftp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_user_and_the_directory_of_a_remote_are_decoded() {
        for (url, user, path) in [
            ("sftp://u@h/My%20Backups", "u", "/My Backups"),
            ("sftp://u@h/100%25", "u", "/100%"),
            ("sftp://svc%2Bbackup%40corp.example.com@h/x", "svc+backup@corp.example.com", "/x"),
            ("sftp://svc+backup@corp.example.com@h/x", "svc+backup@corp.example.com", "/x"),
            ("sftp://CORP%5Cbackup@h/x", "CORP\\backup", "/x"),
            ("sftp://backup$@h/x", "backup$", "/x"),
            ("sftp://CORP%5CBackup%20User@h/x", "CORP\\Backup User", "/x"),
            ("sftp://u@h/a%3Fb?c#d", "u", "/a?b?c#d"),
        ] {
            let read = sftp(url).unwrap();
            assert_eq!((read.user.as_str(), read.path.as_str()), (user, path), "{url}");
        }
    }

    #[test]
    fn a_directory_below_a_tilde_is_relative_to_the_login() {
        for (url, path) in [
            ("sftp://u@h/~/backups/x", "backups/x"),
            ("sftp://u@h/~/", "."),
            ("sftp://u@h/~", "."),
            ("sftp://u@h/%7E/x", "x"),
            ("sftp://u@h/a/~", "/a/~"),
        ] {
            assert_eq!(sftp(url).unwrap().path, path, "{url}");
        }
        assert!(sftp("sftp://u@h/~//x").is_err());
    }

    #[test]
    fn an_endpoint_has_a_scheme_a_host_and_a_port() {
        for good in ["https://10.0.3.1:2379", "http://127.0.0.1:2379", "https://[fd00::1]:2379"] {
            assert_eq!(endpoint(&good.to_owned()).unwrap(), good);
        }
        for bad in [
            "10.0.3.1:2379",
            "https://10.0.3.1",
            "https://:2379",
            "https://a:2379/v3",
            "https://a:b",
            "ftp://a:1",
        ] {
            assert!(endpoint(&bad.to_owned()).is_err(), "{bad}");
        }
    }
}
