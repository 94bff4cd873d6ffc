//! Where a peer is, who logs in there, and how long to wait for it.

use std::fmt;
use std::time::Duration;

/// One SSH server and the login used on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address to connect to.
    pub address: String,
    pub port: u16,
    pub user: String,
    /// The names under which its key is looked up in known_hosts; the address where this is empty.
    pub known_as: Vec<String>,
}

impl Endpoint {
    /// The names under which this peer's host key may be pinned.
    pub fn names(&self) -> &[String] {
        if self.known_as.is_empty() { std::slice::from_ref(&self.address) } else { &self.known_as }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.names().first().unwrap_or(&self.address);
        write!(f, "{}@{name}", self.user)?;
        if *name != self.address {
            write!(f, " ({})", self.address)?;
        }
        if self.port != 22 {
            write!(f, " port {}", self.port)?;
        }
        Ok(())
    }
}

/// How long each kind of wait may last; every wait in this crate is bounded by one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect together with the key exchange.
    pub connect: Duration,
    /// The login.
    pub auth: Duration,
    /// Between two keepalives; a peer that leaves three unanswered is given up.
    pub keepalive: Duration,
    /// One answer of the peer: within a transfer the time without any progress, not the transfer's length. Generous,
    /// because an fsync on a slow disk is one answer too.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            auth: Duration::from_secs(20),
            keepalive: Duration::from_secs(15),
            request: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_shown_by_the_name_it_is_known_as() {
        let mut endpoint = Endpoint {
            address: "10.0.3.7".into(),
            port: 22,
            user: "nightshift-peer".into(),
            known_as: vec!["node07.example.com".into()],
        };
        assert_eq!(endpoint.to_string(), "nightshift-peer@node07.example.com (10.0.3.7)");
        endpoint.known_as.clear();
        endpoint.port = 2222;
        assert_eq!(endpoint.to_string(), "nightshift-peer@10.0.3.7 port 2222");
    }
}
