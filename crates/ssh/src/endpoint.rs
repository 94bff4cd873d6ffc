//! The address and login of a peer, and the timeouts of its connections.

use std::fmt;
use std::time::Duration;

use nightshift_core::address::bracketed;

/// SSH's own port.
const SSH_PORT: u16 = 22;

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

    /// As the argument of `nightshift trust`. A host of the config is found there by its name, a remote by its address and port.
    pub fn argument(&self) -> String {
        match self.names() {
            [name] if self.port != SSH_PORT => format!("{}:{}", bracketed(name), self.port),
            names => names.first().unwrap_or(&self.address).clone(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.names().first().unwrap_or(&self.address);
        write!(f, "{}@{name}", self.user)?;
        if *name != self.address {
            write!(f, " ({})", self.address)?;
        }
        if self.port != SSH_PORT {
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

    #[test]
    fn the_argument_of_a_remote_with_another_port_has_the_port_and_brackets_if_it_is_ipv6() {
        let endpoint = |known_as: &[&str], port| Endpoint {
            address: "10.0.3.7".into(),
            port,
            user: "u".into(),
            known_as: known_as.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (known_as, port, argument) in [
            (&["m1", "10.0.3.7"][..], 2222, "m1"),
            (&["b.example.com"], 22, "b.example.com"),
            (&["b.example.com"], 2222, "b.example.com:2222"),
            (&["fd00::1"], 2222, "[fd00::1]:2222"),
            (&["fd00::1"], 22, "fd00::1"),
            (&[], 2222, "10.0.3.7:2222"),
        ] {
            assert_eq!(endpoint(known_as, port).argument(), argument);
        }
    }
}
