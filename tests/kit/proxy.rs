//! A TCP proxy on loopback that delays, holds, cuts or damages what it forwards, and counts it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::cmd::poll;
use crate::lab::{Error, Result};

const BUFFER: usize = 256 << 10;
/// How many buffers can be on their way at once in each direction of a delayed connection.
const QUEUE: usize = 256;

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
    /// Nothing is forwarded until it is released.
    Hold,
    /// The connection that reaches the byte is cut, once.
    Cut,
}

/// Its connections are cut when it is dropped.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    delay: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    up: u64,
    down: u64,
    fault: Option<(Way, u64, Fault)>,
    /// What the server sends and is damaged, and whether only its first occurrence is.
    mark: Option<(&'static [u8], bool)>,
    tripped: bool,
    over: bool,
    /// Both ends of each connection, under the connection's number.
    open: Vec<(u64, TcpStream)>,
}

impl Proxy {
    pub fn to(target: u16) -> Result<Self> {
        Self::delayed(target, Duration::ZERO)
    }

    /// Each byte arrives that much later, in both directions.
    pub fn delayed(target: u16, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("binding a proxy"))?;
        let port = listener.local_addr().map_err(Error::io("asking for the proxy's port"))?.port();
        let shared = Arc::new(Shared { target, delay, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for (client, number) in listener.incoming().map_while(io::Result::ok).zip(0..) {
                if accepting.state().over {
                    return;
                }
                // Where the server does not listen, the client sees a connection that ends at once, as of a host that is down.
                let _ = accepting.connect(client, number);
            }
        });
        Ok(Self { port, shared })
    }

    /// Where a plain HTTP server behind it is requested.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets that many more bytes through that way, then nothing at all until it is released.
    pub fn hold_after(&self, way: Way, bytes: u64) {
        self.arm(way, bytes, Fault::Hold);
    }

    /// Cuts the connection that carries the byte after so many more; connections after that live.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.arm(way, bytes, Fault::Cut);
    }

    /// Flips a bit in what the server sends: in the first occurrence of the mark, which must arrive in one piece.
    pub fn flip(&self, mark: &'static [u8]) {
        self.shared.state().mark = Some((mark, true));
    }

    /// Flips a bit in each occurrence of the mark.
    pub fn flip_each(&self, mark: &'static [u8]) {
        self.shared.state().mark = Some((mark, false));
    }

    pub fn release(&self) {
        self.shared.state().fault = None;
        self.shared.changed.notify_all();
    }

    /// Whether a fault has occurred.
    pub fn is_tripped(&self) -> bool {
        self.shared.state().tripped
    }

    /// Waits until a fault has occurred.
    pub fn wait_tripped(&self, within: Duration) -> Result<()> {
        poll("the proxy's byte to be reached", within, || {
            let state = self.shared.state();
            if state.tripped { Ok(()) } else { Err(format!("{} up, {} down", state.up, state.down)) }
        })
    }

    /// The bytes that were forwarded so far.
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
        state.close(|_| true);
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts, so that it ends and closes the port.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream, number: u64) -> io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", self.target))?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            let stream = stream.try_clone()?;
            self.state().open.push((number, stream));
        }
        let back = (server.try_clone()?, client.try_clone()?);
        for (way, from, to) in [(Way::Up, client, server), (Way::Down, back.0, back.1)] {
            // Without a delay no more is read than the receiver takes, so that a held sender notices it.
            let (queue, arrived) = mpsc::sync_channel(if self.delay.is_zero() { 0 } else { QUEUE });
            let delay = self.delay;
            thread::spawn(move || receive(from, delay, &queue));
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // However it ended, both ends are closed.
                let _ = shared.forward(way, &arrived, to);
                shared.state().close(|of| of == number);
            });
        }
        Ok(())
    }

    fn forward(&self, way: Way, arrived: &mpsc::Receiver<Arrival>, mut to: TcpStream) -> io::Result<()> {
        for (due, mut bytes) in arrived {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if way == Way::Down {
                self.state().damage(&mut bytes);
            }
            let mut chunk = &bytes[..];
            while !chunk.is_empty() {
                let Some(allowed) = self.pass(way, chunk.len()) else {
                    return Ok(());
                };
                to.write_all(&chunk[..allowed])?;
                chunk = &chunk[allowed..];
            }
        }
        Ok(())
    }

    /// How many of so many bytes may be forwarded now; waits while they are held. `None` where it is cut.
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

/// Bytes, and when they are forwarded.
type Arrival = (Instant, Vec<u8>);

fn receive(mut from: TcpStream, delay: Duration, queue: &mpsc::SyncSender<Arrival>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if queue.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
            return;
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

    fn damage(&mut self, bytes: &mut [u8]) {
        while let Some((mark, once)) = self.mark
            && let Some(at) = bytes.windows(mark.len()).position(|window| window == mark)
        {
            bytes[at] ^= 1;
            self.tripped = true;
            self.mark = self.mark.filter(|_| !once);
        }
    }

    /// Shuts both ends down: an end of which only one is shut down would still receive, and seem alive.
    fn close(&mut self, which: impl Fn(u64) -> bool) {
        for (_, stream) in self.open.extract_if(.., |(of, _)| which(*of)) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
