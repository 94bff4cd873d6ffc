//! The output of a command as a file of the set: run without a shell, bounded in time and size.

use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::access::Access;
use nightshift_core::manifest::{Item, ItemKind};
use nightshift_core::secret::masked_command;
use nightshift_store::access::owner;
use nightshift_store::process::{self, Limits, ProcessError};
use nightshift_store::{Partial, StoreError};

const LIMITS: Limits = Limits { time: Duration::from_secs(120), output: 64 << 20 };

/// Runs a command, and returns what it printed, or why it failed.
pub fn output(argv: &[String]) -> Result<Vec<u8>, ProcessError> {
    let mut words = argv.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    process::output(command.args(words).env("LC_ALL", "C.UTF-8"), LIMITS)
}

/// Stores a command's output under its name, with the daemon's own user as owner.
pub fn store(partial: &Partial, argv: &[String], alias: &str, output: &[u8]) -> Result<Item, StoreError> {
    let written = partial.write(alias, output)?;
    Ok(Item {
        path: alias.to_owned(),
        source: format!("$ {}", masked_command(argv)),
        kind: ItemKind::File { size: written.size, sha256: written.sha256 },
        owner: owner(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
        mode: 0o600,
        modified: Timestamp::now(),
        selinux: None,
        access: Access::default(),
        changed: false,
    })
}
