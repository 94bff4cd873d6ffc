//! A lab by hand: the kit boots it, these words drive it.

use std::io::Write as _;
use std::process::ExitCode;

use kit::lab::etcd::EtcdCluster;
use kit::lab::{Topology, hand, openshift, package};

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::setup;

/// Boots a cluster with every role in it, lays OpenShift's files and starts a real etcd.
pub fn up() -> Result<()> {
    setup::for_lab()?;
    let state = hand::up(&Topology::full())?;
    let lab = hand::attach()?;
    openshift::lay(&lab)?;
    EtcdCluster::found(&lab)?;
    for host in state.hosts {
        println!("{:<12} {:<24} {:?}", host.address, host.name, host.roles);
    }
    println!(
        "\nnext: cargo xtask lab night, or cargo xtask lab exec HOST LINE; at the end: cargo xtask lab down"
    );
    Ok(())
}

/// Installs the package as an operator would, and has the whole night run now.
pub fn night() -> Result<()> {
    step(&mut command(&["cargo", "build", "--locked", "--package", "nightshift"]))?;
    let night = hand::night(&package()?)?;
    println!("\n{}\n", night.status);
    println!("the others:  cargo xtask lab exec HOST nightshift status");
    println!("its story:   cargo xtask lab exec master1.lab.test journalctl -u nightshift -o cat");
    println!(
        "the archives lie in /home/cloud-user on backup1.lab.test; what opens them: {}",
        night.identity.display()
    );
    Ok(())
}

/// The line's own output and status are handed on.
pub fn exec(host: &str, line: &str) -> Result<ExitCode> {
    let output = hand::exec(host, line)?;
    std::io::stdout().write_all(&output.stdout).map_err(Error::io("write to", "standard output"))?;
    eprint!("{}", output.stderr);
    Ok(ExitCode::from(u8::try_from(output.status).unwrap_or(u8::MAX)))
}

pub fn down() -> Result<()> {
    Ok(hand::down()?)
}
