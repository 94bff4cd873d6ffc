//! A process that runs beside the measurements, and what the kernel keeps of it. Ends with its owner.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::run::output;

pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// What it says goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(log).map_err(Error::io("write", log))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.map_err(|source| Error::Start { line: name.clone(), source })?;
        Ok(Self { child, name })
    }

    /// Polls until it is so; a process that ends meanwhile never gets there.
    pub fn wait_until(&mut self, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            if Instant::now() > until || self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(Error::Missing(format!("{}: {what} did not come to pass", self.name)));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Memory in MiB: `VmRSS` now, `VmHWM` at its highest, `RssAnon` the part that no file backs.
    pub fn memory(&self, name: &str) -> Result<f64> {
        let text = self.kernel_file("status")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = value.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0).ok_or_else(|| Error::Missing(format!("{}: no {name}", self.name)))
    }

    /// CPU time spent so far in milliseconds, that of children it has waited for included.
    pub fn cpu(&self) -> Result<f64> {
        let text = self.kernel_file("stat")?;
        // The name before it may hold anything; the 14th to the 17th field are four counts of ticks.
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks =
            after_name.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok());
        let per_second = output(&["getconf", "CLK_TCK"]).and_then(|text| text.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() * 1000.0 / per_second.unwrap_or(100.0))
    }

    fn kernel_file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).map_err(Error::io("read", path))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing that it has is kept, and an error here only says that it has ended by itself.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

pub fn free_port() -> Result<u16> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(Error::io("listen on", "127.0.0.1"))
}

pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
