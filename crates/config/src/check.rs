//! What a single value must look like, whatever table it stands in.

use std::path::PathBuf;

use crate::refusal::Refusal;

/// An absolute path without detours.
pub(crate) fn path(text: &String) -> Result<PathBuf, Refusal> {
    if !text.starts_with('/') {
        return Err(Refusal::new(format!("`{text}` is a relative path"))
            .help("write it from the root, beginning with `/`"));
    }
    straight(text)?;
    Ok(PathBuf::from(text))
}

/// Refuses what would lead somewhere else than it looks: `..`, `.`, empty components.
pub(crate) fn straight(text: &str) -> Result<(), Refusal> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if text.contains(|c: char| c.is_control()) {
        return Err(Refusal::new("a path holds a control character"));
    }
    if inner.split('/').any(|part| part == "..") {
        return Err(Refusal::new(format!("`{text}` holds `..`")).help("write the path that is meant"));
    }
    if !inner.is_empty() && inner.split('/').any(|part| part.is_empty() || part == ".") {
        return Err(
            Refusal::new(format!("`{text}` holds an empty or `.` component")).help("write it without")
        );
    }
    Ok(())
}

pub(crate) fn user(text: &String) -> Result<String, Refusal> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.starts_with('-') || !text.chars().all(fine) {
        return Err(Refusal::new(format!("`{text}` is no user name"))
            .help("letters, digits, `.`, `_` and `-` are taken"));
    }
    Ok(text.clone())
}

/// A host name or an IP address, without a port.
pub(crate) fn address(text: &String) -> Result<String, Refusal> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_ipv6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    if !is_ipv6 && (text.is_empty() || text.starts_with('-') || !text.chars().all(name)) {
        let refusal = Refusal::new(format!("`{text}` is no address"));
        return Err(refusal.help("write a host name or an IP address; a port has a key of its own"));
    }
    Ok(text.clone())
}

pub(crate) fn port(port: &u16) -> Result<u16, Refusal> {
    match port {
        0 => Err(Refusal::new("0 is no port").help("a port is a number from 1 to 65535; SSH's is 22")),
        port => Ok(*port),
    }
}

/// A count within bounds.
pub(crate) fn count(low: u32, high: u32) -> impl Fn(&u32) -> Result<usize, Refusal> {
    move |count| {
        let fits = (low..=high).contains(count).then(|| usize::try_from(*count).ok()).flatten();
        fits.ok_or_else(|| {
            Refusal::new(format!("{count} is out of bounds"))
                .help(format!("write a number from {low} to {high}"))
        })
    }
}
