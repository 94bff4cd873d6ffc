//! The address and login of a peer, and the timeouts of its connections.

use std::fmt;
use std::time::Duration;

/// One SSH server and the login used on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address to connect to.
    pub address: String,
    pub port: u16,
    pub user: String,
    /// The names under which its key is looked up in known_hosts; if empty, the address.
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

/// The timeouts of a connection. Every wait in this crate is bounded by one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection and the key exchange together.
    pub connect: Duration,
    /// For the login.
    pub auth: Duration,
    /// The interval of keepalives. The connection is closed when three in a row are not answered.
    pub keepalive: Duration,
    /// For one response. In a transfer it limits the time without progress, not the transfer's duration. It is long, because
    /// an fsync on a slow disk is one request too.
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
    fn an_endpoint_is_shown_with_its_name_in_known_hosts() {
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
