//! A night to look at, on this machine alone.

use std::io;

use crate::error::Result;
use crate::run::{command, step};
use crate::{setup, workspace};

/// Installs and builds what is missing, runs the night, and prints where its files are.
pub fn run() -> Result<()> {
    setup::for_servers()?;
    step(&mut command(&["cargo", "build", "--quiet", "--locked", "--package", "nightshift"]))?;
    println!();
    Ok(kit::demo::run(&workspace::demo(), &mut io::stdout().lock())?)
}
