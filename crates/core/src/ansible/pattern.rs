//! How an inventory names hosts: `node[01:40].example.com`, `host:2222`, `[fe80::1]:22`.

use crate::ranges;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) names: Vec<String>,
    pub(super) port: Option<u16>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (hosts, port) = split_port(text)?;
        // An IPv6 address in brackets, `[fe80::1]`, or without, is not a range.
        let bare = hosts.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(hosts);
        let names = if bare.parse::<std::net::Ipv6Addr>().is_ok() {
            vec![bare.to_owned()]
        } else {
            ranges::expand(hosts).map_err(|error| error.to_string())?
        };
        Ok(Self { names, port })
    }
}

/// Splits a port off. The colons of ranges are in brackets; an IPv6 address has several.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let outside = text.rfind(']').map_or(0, |close| close + 1);
    let Some(colon) = text[outside..].rfind(':').map(|at| outside + at) else { return Ok((text, None)) };
    let (hosts, port) = (&text[..colon], &text[colon + 1..]);
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    match port.parse() {
        Ok(port) if port > 0 => Ok((hosts, Some(port))),
        _ => Err("invalid port after the host name; write `host:2222`".to_owned()),
    }
}
