//! What notices are sent to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub enum Answer {
    Status(u16),
    Redirect(String),
    Stall,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    headers: Vec<String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// An HTTP server. A reserved one refuses connections until it is opened.
pub struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    pub fn start(answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// A port on which nothing listens.
    pub fn reserve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { port: listener.local_addr().unwrap().port(), requests: Arc::default() }
    }

    pub fn open(self, answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        Self::serve(TcpListener::bind(("127.0.0.1", self.port)).unwrap(), answer)
    }

    fn serve(listener: TcpListener, answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (port, kept) = (listener.local_addr().unwrap().port(), Arc::clone(&requests));
        thread::spawn(move || {
            let mut stalled = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let number = kept.lock().unwrap().len();
                let Some(request) = read(&mut stream) else { continue };
                kept.lock().unwrap().push(request);
                let head = match answer(number) {
                    Answer::Status(status) => format!("HTTP/1.1 {status} X\r\n"),
                    Answer::Redirect(place) => format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\n"),
                    Answer::Stall => {
                        stalled.push(stream);
                        continue;
                    }
                };
                let _gone = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
            }
        });
        Self { port, requests }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, headers: lines, body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

#[derive(Clone, Debug)]
pub struct Mail {
    /// Of the envelope.
    pub to: Vec<String>,
    pub text: String,
}

/// A mail server that accepts every mail, but asks for a later attempt in the first one for `busy@…`.
pub struct SmtpServer {
    port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl SmtpServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let (port, kept) = (listener.local_addr().unwrap().port(), Arc::clone(&mails));
        thread::spawn(move || {
            let mut is_busy = true;
            for stream in listener.incoming() {
                kept.lock().unwrap().extend(converse(stream.unwrap(), &mut is_busy));
            }
        });
        Self { port, mails }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

fn converse(mut stream: TcpStream, is_busy: &mut bool) -> Option<Mail> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut say = |line: &str| stream.write_all(format!("{line}\r\n").as_bytes()).ok();
    say("220 site.test ESMTP")?;
    let (mut mail, mut to) = (None, Vec::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(address) =
            line.trim_end().strip_prefix("RCPT TO:<").and_then(|rest| rest.strip_suffix('>'))
        {
            if address.starts_with("busy@") && std::mem::take(is_busy) {
                say("450 4.2.0 greylisted")?;
            } else {
                to.push(address.to_owned());
                say("250 ok")?;
            }
            continue;
        }
        match line.split([' ', '\r']).next()?.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => say("250 site.test")?,
            "DATA" => {
                say("354 go on")?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    reader.read_line(&mut text).ok()?;
                }
                mail = Some(Mail { to: std::mem::take(&mut to), text });
                say("250 accepted")?;
            }
            "QUIT" => {
                say("221 bye")?;
                return mail;
            }
            "" => return mail,
            _ => say("250 ok")?,
        }
    }
}
