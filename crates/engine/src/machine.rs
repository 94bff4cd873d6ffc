//! What identifies this machine: its id, its name, its addresses; and what runs on it.

use std::fs;
use std::path::Path;

use nightshift_core::manifest::Machine;
use nightshift_core::system::{ControlPlane, System, os_of};

/// The first one that can be read counts (os-release(5)).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

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

/// How the control plane runs on this host.
pub fn control_plane() -> Option<ControlPlane> {
    ControlPlane::of(|directory| Path::new(directory).is_dir())
}

/// What runs on this host, or why that is unknown.
pub fn system() -> Result<System, String> {
    let read = |path| fs::read_to_string(path).ok().as_deref().and_then(os_of);
    let os = OS_RELEASE
        .into_iter()
        .find_map(read)
        .ok_or_else(|| format!("the operating system is unknown: no ID in {}", OS_RELEASE.join(" and ")))?;
    let architecture = rustix::system::uname().machine().to_string_lossy().as_ref().into();
    Ok(System { os: os.into(), architecture, control_plane: control_plane() })
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
