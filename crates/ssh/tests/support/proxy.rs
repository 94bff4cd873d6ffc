//! A TCP proxy that delays every byte, stops forwarding, or cuts its connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    target: u16,
    delay: Duration,
    stalled: AtomicBool,
    forwarded: AtomicU64,
    /// When this many bytes were forwarded, the connection that forwarded the last of them is cut.
    cut_after: AtomicU64,
    /// Both ends of each connection, under the connection's number.
    streams: Mutex<Vec<(u64, TcpStream)>>,
    last: Mutex<Instant>,
}

impl Proxy {
    /// Forwards to a port on loopback; `delay` each way.
    pub fn start(target: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target,
            delay,
            stalled: AtomicBool::new(false),
            forwarded: AtomicU64::new(0),
            cut_after: AtomicU64::new(u64::MAX),
            streams: Mutex::default(),
            last: Mutex::new(Instant::now()),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for (client, number) in listener.incoming().zip(0..) {
                accepting.forward(client.unwrap(), number);
            }
        });
        Self { port, state }
    }

    /// From now on nothing is forwarded, and nothing is closed.
    pub fn stall(&self) {
        self.state.stalled.store(true, Ordering::SeqCst);
    }

    /// Cuts one connection after that many further bytes; the others continue.
    pub fn cut_one_after(&self, bytes: u64) {
        let now = self.state.forwarded.load(Ordering::SeqCst);
        self.state.cut_after.store(now + bytes, Ordering::SeqCst);
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        for (_, stream) in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// For how long nothing was forwarded.
    pub fn quiet_for(&self) -> Duration {
        self.state.last.lock().unwrap().elapsed()
    }

    pub fn forwarded(&self) -> u64 {
        self.state.forwarded.load(Ordering::SeqCst)
    }
}

impl State {
    fn forward(self: &Arc<Self>, client: TcpStream, number: u64) {
        let server = TcpStream::connect(("127.0.0.1", self.target)).unwrap();
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.streams.lock().unwrap().push((number, stream.try_clone().unwrap()));
        }
        self.pipe(client.try_clone().unwrap(), server.try_clone().unwrap(), number);
        self.pipe(server, client, number);
    }

    fn pipe(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream, number: u64) {
        let (queue, arrivals) = mpsc::channel::<(Instant, Vec<u8>)>();
        let delay = self.delay;
        thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) if queue.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() => {
                        break;
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
        let state = Arc::clone(self);
        thread::spawn(move || {
            for (due, data) in arrivals {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if state.stalled.load(Ordering::SeqCst) {
                    thread::park();
                }
                *state.last.lock().unwrap() = Instant::now();
                let total =
                    state.forwarded.fetch_add(data.len() as u64, Ordering::SeqCst) + data.len() as u64;
                if total >= state.cut_after.load(Ordering::SeqCst) {
                    state.cut_after.store(u64::MAX, Ordering::SeqCst);
                    break;
                }
                if to.write_all(&data).is_err() {
                    break;
                }
            }
            state.end(number);
        });
    }

    /// Closes both ends. An end that is only shut down would still receive what its peer sends, and seem alive.
    fn end(&self, number: u64) {
        self.streams.lock().unwrap().retain(|(of, stream)| {
            if *of == number {
                let _ = stream.shutdown(Shutdown::Both);
            }
            *of != number
        });
    }
}
