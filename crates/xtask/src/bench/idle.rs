//! The daemon between nights, beside the heartbeat crate alone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::directory::fresh;
use super::etcd::Member;
use super::measure::timed;
use super::process::Process;
use super::row::{Row, Target, Unit};
use crate::error::{Error, Result};
use crate::run::output;
use crate::workspace;

pub const ABOUT: &str = "\
The daemon of a host that is master, etcd and node, in a cluster of three masters and forty nodes. It has just made its \
sets of an extra night, a snapshot of a db of 500 MB and more among them; then it idles. Its CPU time is counted over \
three minutes, that of the programs it starts included. *The heartbeat crate alone* is tokio and tokio-cron-scheduler \
with one job a minute, running beside it.";

/// How long both idle.
const MINUTES: u32 = 3;
/// What a stage leaves goes with the threads that served it, which wait this long for more work.
const THREADS_END: Duration = Duration::from_secs(15);

pub fn rows() -> Result<Vec<Row>> {
    let member = Member::filled()?;
    let scratch = fresh("idle")?;
    let config = configure(&scratch, &member.url)?;
    let binary = workspace::release().join("nightshift");
    let mut daemon = Process::start(
        Command::new(&binary).arg("daemon").arg("--config").arg(&config).envs(environment()),
        &scratch.join("log"),
    )?;
    let socket = scratch.join("run/control.sock");
    daemon.wait_until("answering", || socket.exists())?;
    let heartbeat = workspace::release().join("examples/heartbeat_alone");
    let alone = Process::start(&mut Command::new(heartbeat), &scratch.join("heartbeat.log"))?;

    thread::sleep(THREADS_END);
    let fresh = daemon.memory("VmRSS")?;
    timed(Command::new(&binary).args(["run", "night", "--wait", "--config"]).arg(&config))?;
    let peak = daemon.memory("VmHWM")?;
    drop(member);
    thread::sleep(THREADS_END);

    let before = (daemon.cpu()?, alone.cpu()?);
    thread::sleep(Duration::from_secs(60) * MINUTES);
    let ours = (daemon.cpu()? - before.0) / f64::from(MINUTES);
    let theirs = (alone.cpu()? - before.1) / f64::from(MINUTES);
    Ok(vec![
        Row::new("memory, after a night", Unit::Mebibytes, daemon.memory("VmRSS")?)
            .beside("the heartbeat crate alone", alone.memory("VmRSS")?)
            .target(Target::AtMost(16.0), MEMORY_MISSED),
        Row::new("of it not backed by a file, after a night", Unit::Mebibytes, daemon.memory("RssAnon")?)
            .beside("the heartbeat crate alone", alone.memory("RssAnon")?),
        Row::new("memory, just started", Unit::Mebibytes, fresh).target(Target::AtMost(16.0), FRESH_MISSED),
        Row::new("memory at its highest, in the night", Unit::Mebibytes, peak)
            .target(Target::AtMost(64.0), ""),
        Row::new("CPU time", Unit::MillisecondsPerMinute, ours)
            .beside("the heartbeat crate alone", theirs)
            .target(Target::MoreByAtMost(20.0), ""),
    ])
}

const MEMORY_MISSED: &str = "Little of this is in use: 0.6 MiB of the heap. More than half are pages of the binary and the \
    libraries that have run, which the kernel takes back when it needs them. Measured on one machine, each after such a \
    night: a binary optimised for size, except what handles bulk data (opt-level z, fat LTO), maps 15.5 MiB of files \
    instead of 26.6 MiB, but takes 4.4 s of CPU time for the night instead of 4.0 s. The rest is free memory that the C \
    library keeps for later: 10.7 MiB with the MALLOC_… settings of the daemon's unit, with which it runs here, and \
    15.4 MiB without them; with both these settings and the binary for size it was 24.3 MiB in all. malloc_trim(3) would \
    hand it back, but is an unsafe call, which this workspace forbids.";

const FRESH_MISSED: &str = "All but 1.9 MiB are pages of the binary and the libraries.";

/// The environment that the unit gives the daemon.
fn environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("../../../../systemd/nightshift.service")
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="))
        .flat_map(str::split_whitespace)
        .filter_map(|variable| variable.split_once('='))
}

/// Writes what the daemon needs, and returns its config file.
fn configure(scratch: &Path, etcd: &str) -> Result<std::path::PathBuf> {
    let at = scratch.display();
    let key = scratch.join("host_key");
    timed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
    let text = format!(
        r#"version = 1
[cluster]
name = "bench"
[this-host]
name = "master1.example.com"
[hosts]
masters = ["master[1:3].example.com"]
etcd = ["master[1:3].example.com"]
nodes = ["master[1:3].example.com", "node[01:40].example.com"]
[night]
time-zone = "{zone}"
trust-clock = true
[files]
master = ["/etc/hostname"]
etcd = ["/etc/hostname"]
node = ["/etc/hostname"]
[etcd]
endpoint = "{etcd}"
[ssh]
host-key = "{at}/host_key"
[vault]
min-free = "1MiB"
[archive]
plaintext = true
[paths]
state = "{at}/state"
run = "{at}/run"
config = "{at}/etc"
"#,
        zone = zone_where_it_is_noon()?
    );
    for folder in ["state", "run", "etc"] {
        let folder = scratch.join(folder);
        fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    }
    let config = scratch.join("etc/nightshift.toml");
    fs::write(&config, text).map_err(Error::io("write", &config))?;
    Ok(config)
}

/// Where no night is open now nor soon, with its times as they are by default.
fn zone_where_it_is_noon() -> Result<String> {
    let hour = output(&["date", "-u", "+%-H"]).and_then(|text| text.parse::<i32>().ok());
    let hour = hour.ok_or_else(|| Error::Missing("`date` did not print the hour".to_owned()))?;
    // POSIX counts these zones westwards: Etc/GMT-5 is five hours ahead of UTC.
    Ok(format!("Etc/GMT{:+}", hour - 12))
}
