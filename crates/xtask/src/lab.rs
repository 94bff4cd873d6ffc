//! A lab by hand: the kit boots it, these words drive it.

use std::io::Write as _;
use std::process::ExitCode;

use kit::lab::{Topology, hand};

use crate::error::{Error, Result};
use crate::setup;

pub fn up() -> Result<()> {
    setup::for_lab()?;
    let state = hand::up(&Topology::full())?;
    for host in state.hosts {
        println!("{:<12} {:<24} {:?}", host.address, host.name, host.roles);
    }
    println!("\ncargo xtask lab exec HOST LINE, and cargo xtask lab down when you are done");
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
