//! The output of a command as a file of the set: run without a shell, bounded in time and size.

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::manifest::{Item, ItemKind};
use rustix::process::{Pid, Signal};

use super::copy::owner;
use nightshift_store::{Partial, StoreError};

const LONGEST: Duration = Duration::from_secs(120);
const MAX_BYTES: u64 = 64 << 20;

/// Runs a command and returns what it printed, or why there is nothing of use.
pub fn output(argv: &[String]) -> Result<Vec<u8>, String> {
    output_within(argv, LONGEST)
}

fn output_within(argv: &[String], longest: Duration) -> Result<Vec<u8>, String> {
    let (program, arguments) = argv.split_first().ok_or("the command is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .process_group(0)
        .spawn()
        .map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    let result = read_output(&mut child, longest);
    // Ended already where all went well; a command that hangs or prints for ever is ended here.
    end(&child);
    let status = child.wait().map_err(|error| format!("`{program}` cannot be waited for: {error}"))?;
    let output = result?;
    if status.success() { Ok(output) } else { Err(format!("`{program}` ended with {status}")) }
}

fn read_output(child: &mut Child, longest: Duration) -> Result<Vec<u8>, String> {
    let stdout = child.stdout.take().ok_or("it has no output")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let deadline = Instant::now() + longest;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes);
            // Nobody listens any more when the time was up.
            let _late = sender.send(read);
        });
        let received = receiver.recv_timeout(longest);
        // The reader ends once the command has: so a command that hangs is ended before the scope is left.
        if received.is_err() {
            end(child);
        }
        match received {
            Ok(Ok(bytes)) if bytes.len() as u64 > MAX_BYTES => {
                Err(format!("it printed more than {MAX_BYTES} bytes"))
            }
            Ok(Ok(bytes)) => wait(child, deadline).map(|()| bytes),
            Ok(Err(error)) => Err(format!("its output cannot be read: {error}")),
            Err(_) => Err(format!("it took longer than {} s", longest.as_secs())),
        }
    })
}

/// Ends a command with everything that it started: a child of its own may hold the output open.
fn end(child: &Child) {
    // Nobody left to end is as good.
    let _ended = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// Waits for a command that has closed its output.
fn wait(child: &mut Child, deadline: Instant) -> Result<(), String> {
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => return Err(format!("it took longer than {} s", LONGEST.as_secs())),
            Err(error) => return Err(format!("it cannot be waited for: {error}")),
        }
    }
}

/// Stores a command's output under its name, owned by whoever collects.
pub fn store(partial: &Partial, argv: &[String], alias: &str, output: &[u8]) -> Result<Item, StoreError> {
    let written = partial.write(alias, output)?;
    Ok(Item {
        path: alias.to_owned(),
        source: format!("$ {}", argv.join(" ")),
        kind: ItemKind::File { size: written.size, sha256: written.sha256 },
        owner: owner(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
        mode: 0o600,
        modified: Timestamp::now(),
        selinux: None,
        changed: false,
    })
}
