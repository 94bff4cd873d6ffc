//! A lab by hand: the kit boots it, these words drive it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use kit::lab::etcd::EtcdCluster;
use kit::lab::nightshift::{self, AgeIdentity, Schedule};
use kit::lab::{Topology, hand, openshift};

use crate::error::{Error, Result};
use crate::{package, setup};

/// Where sshd looks for the keys of the peers' user, as the package makes it.
const PEER_KEYS: &str = "/var/lib/nightshift-peer/.ssh/authorized_keys";

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

/// Installs the package as an operator would, and has the night open in the next minute.
pub fn night() -> Result<()> {
    let lab = hand::attach()?;
    nightshift::install(&lab, &package::both()?.deb)?;
    nightshift::introduce(&lab, PEER_KEYS)?;
    let identity = AgeIdentity::create(&lab)?;
    let opens = next_minute();
    let config = nightshift::config_text(&lab, &Schedule::opening_at(opens), &[identity.recipient]);
    nightshift::configure(&lab, &config)?;
    nightshift::enable(&lab)?;
    println!("\nthe night opens at {:02}:{:02} UTC", opens / 60, opens % 60);
    println!("watch it:   cargo xtask lab exec master1.lab.test nightshift status");
    println!("its story:  cargo xtask lab exec master1.lab.test journalctl -u nightshift -o cat");
    println!("the key that opens its archives: {}", identity.path.display());
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

/// The minute of the day, in UTC, that begins next.
fn next_minute() -> u16 {
    const MINUTES_A_DAY: u64 = 24 * 60;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u16::try_from((since_epoch / 60 + 1) % MINUTES_A_DAY).unwrap_or_default()
}
