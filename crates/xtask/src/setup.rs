//! Installs what a command needs and this machine lacks: Debian packages, parts of the toolchain, the pinned tools.

use crate::error::Result;
use crate::run::{command, output, step, succeeds};
use crate::{go_programs, newer_etcd, tools};

/// What building needs, and taking the program's symbols out.
const BUILD: &[&str] = &["binutils", "gcc", "libc6-dev"];

/// What compiles libFuzzer.
const FUZZING: &[&str] = &["g++"];

/// What the integration tests run for real.
const SERVERS: &[&str] =
    &["age", "curl", "etcd-client", "etcd-server", "openssh-client", "openssh-server", "tmux"];

/// What operators watch hosts with.
const PROMETHEUS: &[&str] = &["prometheus", "prometheus-node-exporter"];

/// Services that those packages enable; the tests need the programs only.
const SERVICES: &[(&str, &str)] = &[
    ("etcd-server", "etcd.service"),
    ("openssh-server", "ssh.service"),
    ("prometheus", "prometheus.service"),
    ("prometheus-node-exporter", "prometheus-node-exporter.service"),
];

/// What reads and installs the .rpm.
const RPM: &[&str] = &["rpm"];

/// What installs the pinned tools; a machine that has a pip of its own needs no package for it.
const PIP: &[&str] = &["python3-pip"];

pub fn everything() -> Result<()> {
    for_tests()?;
    go_programs::etcd("3.7")?;
    for_operators()
}

/// What the tests need. The lab needs root itself, not only to be set up.
pub fn for_tests() -> Result<()> {
    debian_packages(&[BUILD, FUZZING, SERVERS].concat())?;
    if is_root() {
        for_lab()?;
    }
    newer_etcd::ensure()?;
    go_programs::etcd("3.6")?;
    for_checks()
}

pub fn for_fuzzing() -> Result<()> {
    debian_packages(&[BUILD, FUZZING].concat())?;
    pinned_tools()
}

/// What the checks of the source need.
pub fn for_checks() -> Result<()> {
    toolchain_parts()?;
    pinned_tools()
}

/// The servers that the benchmarks and the demo run for real, and a compiler.
pub fn for_servers() -> Result<()> {
    debian_packages(&[BUILD, SERVERS].concat())?;
    newer_etcd::ensure()
}

pub fn for_packages() -> Result<()> {
    debian_packages(&[BUILD, RPM].concat())?;
    if is_root() {
        for_lab()?;
    }
    pinned_tools()?;
    tools::linker()
}

/// What the tests with operators' programs need besides.
pub fn for_operators() -> Result<()> {
    for_packages()?;
    debian_packages(PROMETHEUS)?;
    tools::ansible()
}

pub fn for_lab() -> Result<()> {
    debian_packages(kit::lab::apt_packages())?;
    pinned_tools()
}

fn debian_packages(wanted: &[&'static str]) -> Result<()> {
    if !succeeds(&["apt-get", "--version"]) {
        println!("apt-get is missing: install the equivalents of these yourself: {}", wanted.join(" "));
        return Ok(());
    }
    let missing: Vec<&str> = wanted.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(as_root) = as_root() else {
        println!("neither root nor sudo: install these yourself: {}", missing.join(" "));
        return Ok(());
    };
    println!("installing {}", missing.join(" "));
    step(command(as_root).args(["apt-get", "update", "--quiet=2"]))?;
    // Offline, systemctl starts no service of these packages.
    step(
        command(as_root)
            .args(["env", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1"])
            .args(["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends"])
            .args(["-o", "DPkg::Lock::Timeout=120"])
            .args(&missing),
    )?;
    for (package, service) in SERVICES {
        if missing.contains(package) && succeeds(&["systemctl", "--version"]) {
            step(command(as_root).args(["systemctl", "--quiet", "disable", service]))?;
        }
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    output(&["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]).as_deref()
        == Some("installed")
}

fn is_root() -> bool {
    output(&["id", "--user"]).as_deref() == Some("0")
}

/// What to put before a command so that root runs it, if this user may.
fn as_root() -> Option<&'static [&'static str]> {
    if is_root() {
        Some(&["env"])
    } else if succeeds(&["sudo", "--version"]) {
        Some(&["sudo"])
    } else {
        None
    }
}

fn pinned_tools() -> Result<()> {
    if !succeeds(&["python3", "-m", "pip", "--version"]) {
        debian_packages(PIP)?;
    }
    tools::ensure()
}

fn toolchain_parts() -> Result<()> {
    for (part, probe) in
        [("rustfmt", ["cargo", "fmt", "--version"]), ("clippy", ["cargo", "clippy", "--version"])]
    {
        if !succeeds(&probe) {
            step(&mut command(&["rustup", "component", "add", part]))?;
        }
    }
    Ok(())
}
