//! What identifies this machine: its id, its name, its addresses.

use std::fs;

use nightshift_core::manifest::Machine;

/// The kernel's hostname.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub fn describe() -> Machine {
    Machine {
        machine_id: fs::read_to_string("/etc/machine-id").ok().map(|id| id.trim().into()),
        hostname: hostname().into(),
        addresses: addresses().into_iter().collect(),
    }
}

/// The IPv4 and IPv6 addresses of this host, from the kernel's tables: no netlink socket is needed.
pub fn addresses() -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    let trie = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = "";
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address;
        } else if line.starts_with("/32 host LOCAL") && !last.starts_with("127.") {
            addresses.push(last.to_owned());
        }
    }
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The third field is the scope: 00 is global, 20 link-local, 10 the host itself.
        if let [hex, _, _, "00", ..] = fields[..]
            && let Ok(bits) = u128::from_str_radix(hex, 16)
        {
            addresses.push(std::net::Ipv6Addr::from(bits).to_string());
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
}
