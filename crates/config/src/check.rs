//! Checks of single values that occur in several tables.

use std::path::PathBuf;

use crate::refusal::Refusal;

/// Every value of this type is valid.
pub(crate) fn any<T: Copy>(value: &T) -> Result<T, Refusal> {
    Ok(*value)
}

/// An absolute path without `..`, `.` and empty components.
pub(crate) fn path(text: &String) -> Result<PathBuf, Refusal> {
    if !text.starts_with('/') {
        return Err(Refusal::new(format!("`{text}` is a relative path"))
            .help("write an absolute path, starting with `/`"));
    }
    straight(text)?;
    Ok(PathBuf::from(text))
}

/// Refuses `..`, `.` and empty components: such a path may lead elsewhere than it seems to.
pub(crate) fn straight(text: &str) -> Result<(), Refusal> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if text.contains(|c: char| c.is_control()) {
        return Err(Refusal::new("the path contains a control character"));
    }
    if inner.split('/').any(|part| part == "..") {
        return Err(Refusal::new(format!("`{text}` contains `..`")).help("write the path without `..`"));
    }
    if !inner.is_empty() && inner.split('/').any(|part| part.is_empty() || part == ".") {
        return Err(Refusal::new(format!("`{text}` contains an empty or `.` component"))
            .help("write the path without it"));
    }
    Ok(())
}

/// A login, as sshd accepts it: directory services have names such as `DOMAIN\Backup User`, `user@domain` and `backup$`.
pub(crate) fn user(text: &String) -> Result<String, Refusal> {
    if text.is_empty() || text.starts_with('-') || text.trim() != text || text.contains(char::is_control) {
        return Err(Refusal::new(format!("invalid user name `{text}`"))
            .help("write the login's name, without spaces around it and without a `-` at its start"));
    }
    Ok(text.clone())
}

/// A host name or an IP address, without a port.
pub(crate) fn address(text: &String) -> Result<String, Refusal> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_ipv6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    if !is_ipv6 && (text.is_empty() || text.starts_with('-') || !text.chars().all(name)) {
        let refusal = Refusal::new(format!("invalid address `{text}`"));
        return Err(refusal.help("write a host name or an IP address; set the port with `port`"));
    }
    Ok(text.clone())
}

pub(crate) fn port(port: &u16) -> Result<u16, Refusal> {
    match port {
        0 => Err(Refusal::new("invalid port 0").help("write a number from 1 to 65535; SSH's port is 22")),
        port => Ok(*port),
    }
}

/// A count within bounds.
pub(crate) fn count(low: u32, high: u32) -> impl Fn(&u32) -> Result<usize, Refusal> {
    move |count| {
        let valid = (low..=high).contains(count).then(|| usize::try_from(*count).ok()).flatten();
        valid.ok_or_else(|| {
            Refusal::new(format!("{count} is out of range"))
                .help(format!("write a number from {low} to {high}"))
        })
    }
}

/// A number of nights that must not be zero.
pub(crate) fn some_nights(nights: &u16) -> Result<u16, Refusal> {
    match nights {
        0 => Err(Refusal::new("`nights` must be at least 1").help("write `nights = 1`, or more")),
        nights => Ok(*nights),
    }
}
