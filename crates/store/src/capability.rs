//! The daemon's one capability, which reads every file of the host: programs that the daemon runs do not get it.
//!
//! systemd gives it by the ambient set, which every program inherits (capabilities(7)). The set is per thread, and a new thread or
//! program has that of the thread that started it.

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, capabilities, clear_ambient_capability_set, configure_capability_in_ambient_set,
};

/// Keeps this process's capabilities from the programs that it runs. Called before there is a second thread.
pub fn withhold() -> io::Result<()> {
    match clear_ambient_capability_set() {
        // Kernels before 4.3 have no ambient set, so programs inherit nothing.
        Err(Errno::INVAL) => Ok(()),
        cleared => Ok(cleared?),
    }
}

/// As long as this exists, programs that this thread runs can read every file too, if this process can.
#[derive(Debug)]
pub struct Lent;

impl Lent {
    pub fn new() -> io::Result<Self> {
        let reading = CapabilitySet::DAC_READ_SEARCH;
        let own = capabilities(None)?;
        if own.permitted.intersection(own.inheritable).contains(reading) {
            configure_capability_in_ambient_set(reading, true)?;
        }
        Ok(Self)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Err(error) = withhold() {
            tracing::error!("cannot withhold this process's capability from other programs: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use rustix::thread::{CapabilitySets, set_capabilities};

    use super::*;
    use crate::process::{Limits, output};

    /// The ambient set of a program that this thread runs, in hexadecimal.
    fn inherited() -> String {
        let limits = Limits { time: Duration::from_secs(10), output: 1 << 10 };
        let printed = output(Command::new("grep").args(["CapAmb", "/proc/self/status"]), limits).unwrap();
        String::from_utf8(printed)
            .unwrap()
            .split_whitespace()
            .last()
            .unwrap()
            .trim_start_matches('0')
            .to_owned()
    }

    /// Of this thread alone.
    #[test]
    fn a_program_gets_the_capability_only_where_it_is_lent() {
        let own = capabilities(None).unwrap();
        if !own.permitted.contains(CapabilitySet::DAC_READ_SEARCH) {
            return;
        }
        let inheritable = CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, CapabilitySets { inheritable, ..own }).unwrap();
        configure_capability_in_ambient_set(inheritable, true).unwrap();
        assert_eq!(inherited(), "4", "systemd gives it by the ambient set");
        withhold().unwrap();
        assert_eq!(inherited(), "");
        let lent = Lent::new().unwrap();
        assert_eq!(inherited(), "4");
        drop(lent);
        assert_eq!(inherited(), "");
    }
}
