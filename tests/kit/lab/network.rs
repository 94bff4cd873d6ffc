//! The lab's wires: one bridge in a network namespace of its own, one namespace and one cable per host. Nothing of it
//! touches the machine's own network, so every lab can use the same addresses.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;

use super::cmd::Cmd;
use super::error::Result;

const BRIDGE: &str = "br0";

pub struct Network {
    prefix: String,
}

impl Network {
    /// `prefix` names the lab, and stands before the name of everything made here.
    pub fn named(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub fn create(&self) -> Result<()> {
        let switch = self.switch();
        add_namespace(&switch)?;
        batch(&switch, &format!("link add {BRIDGE} type bridge forward_delay 0\nlink set {BRIDGE} up\n"))
    }

    /// The cable of the host with this number; `plug` lays it.
    pub fn link(&self, number: u8, host: &str) -> Link {
        Link {
            switch: self.switch(),
            namespace: format!("{}{host}", self.prefix),
            port: format!("port{number}"),
            address: Ipv4Addr::new(10, 99, 0, 10 + number),
        }
    }

    /// Removes every namespace of this lab, and so its cables and its bridge.
    pub fn remove(&self) -> Result<()> {
        let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
            if name.starts_with(&self.prefix) {
                Cmd::new("ip").args(["netns", "delete", &name]).run()?;
            }
        }
        Ok(())
    }

    fn switch(&self) -> String {
        format!("{}switch", self.prefix)
    }
}

/// A host's cable to the switch.
pub struct Link {
    switch: String,
    pub namespace: String,
    port: String,
    pub address: Ipv4Addr,
}

impl Link {
    pub fn plug(&self) -> Result<()> {
        let Self { switch, namespace, port, address } = self;
        add_namespace(namespace)?;
        batch(
            switch,
            &format!(
                "link add {port} type veth peer name host0 netns {namespace}\n\
                 link set {port} master {BRIDGE}\nlink set {port} up\n"
            ),
        )?;
        let mut lines = String::from("link set lo up\nlink set host0 up\n");
        let _ = writeln!(lines, "address add {address}/24 dev host0");
        batch(namespace, &lines)
    }

    /// Pulls the cable: the host sees no carrier, and packets are lost without an answer.
    pub fn cut(&self) -> Result<()> {
        batch(&self.switch, &format!("link set {} down\n", self.port))
    }

    pub fn join(&self) -> Result<()> {
        batch(&self.switch, &format!("link set {} up\n", self.port))
    }

    /// Lets the host send no faster than this.
    pub fn throttle(&self, mbit: u32) -> Result<()> {
        self.traffic_control(&format!("replace dev host0 root tbf rate {mbit}mbit burst 64kb latency 100ms"))
    }

    pub fn unthrottle(&self) -> Result<()> {
        self.traffic_control("delete dev host0 root")
    }

    fn traffic_control(&self, words: &str) -> Result<()> {
        Cmd::new("tc").args(["-n", &self.namespace, "qdisc"]).args(words.split(' ')).run().map(drop)
    }
}

fn add_namespace(name: &str) -> Result<()> {
    Cmd::new("ip").args(["netns", "add", name]).run().map(drop)
}

fn batch(namespace: &str, lines: &str) -> Result<()> {
    Cmd::new("ip").args(["-n", namespace, "-batch", "-"]).stdin(lines).run().map(drop)
}
