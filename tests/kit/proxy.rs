//! A TCP proxy on loopback that holds or cuts its connections at a byte, and counts what goes through.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lab::cmd::poll;
use crate::lab::{Error, Result};

/// Which way a byte goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing goes on until it is released.
    Hold,
    /// The connection that reaches the byte is cut, once.
    Cut,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    up: u64,
    down: u64,
    fault: Option<(Way, u64, Fault)>,
    tripped: bool,
    over: bool,
}

impl Proxy {
    pub fn to(target: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("binding a proxy"))?;
        let port = listener.local_addr().map_err(Error::io("asking for the proxy's port"))?.port();
        let shared = Arc::new(Shared { target, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                if accepting.state().over {
                    return;
                }
                accepting.connect(client);
            }
        });
        Ok(Self { port, shared })
    }

    /// Lets that many more bytes through that way, then nothing at all until it is released.
    pub fn hold_after(&self, way: Way, bytes: u64) {
        self.arm(way, bytes, Fault::Hold);
    }

    /// Cuts the connection that carries the byte after so many more; connections after that live.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.arm(way, bytes, Fault::Cut);
    }

    pub fn release(&self) {
        self.shared.state().fault = None;
        self.shared.changed.notify_all();
    }

    /// Waits until a fault has struck.
    pub fn wait_tripped(&self, within: Duration) -> Result<()> {
        poll("the proxy's byte to be reached", within, || {
            let state = self.shared.state();
            if state.tripped { Ok(()) } else { Err(format!("{} up, {} down", state.up, state.down)) }
        })
    }

    /// The bytes that went through so far.
    pub fn count(&self, way: Way) -> u64 {
        self.shared.state().count(way)
    }

    fn arm(&self, way: Way, bytes: u64, fault: Fault) {
        let mut state = self.shared.state();
        state.tripped = false;
        state.fault = Some((way, state.count(way) + bytes, fault));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.over = true;
        state.fault = None;
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts, so that it ends and lets go of the port.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else {
            // The client sees what it would see of a host that is down: a connection that ends at once.
            return;
        };
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
        for (way, from, to) in [(Way::Up, from_client, server), (Way::Down, from_server, client)] {
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // However it ended, both ends are to hear of it.
                let _ = shared.copy(way, &from, &to);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }

    fn copy(&self, way: Way, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            let mut chunk = &buffer[..read];
            while !chunk.is_empty() {
                let Some(allowed) = self.pass(way, chunk.len()) else {
                    return Ok(());
                };
                to.write_all(&chunk[..allowed])?;
                chunk = &chunk[allowed..];
            }
        }
    }

    /// How many of so many bytes may go through now; waits while they are held. `None` where it is cut.
    fn pass(&self, way: Way, wanted: usize) -> Option<usize> {
        let mut state = self.state();
        loop {
            let left = match state.fault {
                Some((faulty, at, _)) if faulty == way => at.saturating_sub(state.count(way)),
                // Held one way, it is held both ways.
                Some((_, _, Fault::Hold)) if state.tripped => 0,
                _ => u64::MAX,
            };
            if state.over {
                return None;
            }
            if left > 0 {
                let allowed = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
                *state.count_mut(way) += allowed as u64;
                return Some(allowed);
            }
            state.tripped = true;
            if let Some((_, _, Fault::Cut)) = state.fault {
                state.fault = None;
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    const fn count(&self, way: Way) -> u64 {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }

    const fn count_mut(&mut self, way: Way) -> &mut u64 {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}
