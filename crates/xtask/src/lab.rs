//! A lab by hand: these commands boot it, use it and remove it.

use std::io::Write as _;
use std::process::ExitCode;

use kit::lab::etcd::EtcdCluster;
use kit::lab::{Topology, hand, openshift, package};

use crate::error::{Error, Result};
use crate::run::{command, step};
use crate::setup;

/// Boots a cluster with every role in it, writes OpenShift's files and starts a real etcd.
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

/// Installs the package as an operator would, and runs the whole night now.
pub fn night() -> Result<()> {
    step(&mut command(&["cargo", "build", "--locked", "--package", "nightshift"]))?;
    let night = hand::night(&package()?)?;
    println!("\n{}\n", night.status);
    println!("the others:  cargo xtask lab exec HOST nightshift status");
    println!("its journal: cargo xtask lab exec master1.lab.test journalctl -u nightshift -o cat");
    println!(
        "the archives are in /home/cloud-user on backup1.lab.test; the key that opens them: {}",
        night.identity.display()
    );
    Ok(())
}

/// Prints the line's output, and ends with its status.
pub fn exec(host: &str, line: &str) -> Result<ExitCode> {
    let output = hand::exec(host, line)?;
    std::io::stdout().write_all(&output.stdout).map_err(Error::io("write to", "standard output"))?;
    eprint!("{}", output.stderr);
    Ok(ExitCode::from(u8::try_from(output.status).unwrap_or(u8::MAX)))
}

pub fn down() -> Result<()> {
    Ok(hand::down()?)
}
