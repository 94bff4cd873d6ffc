//! One HTTP request on standard input, its answer on standard output: the same socket. A request is bounded in size and time, and
//! everything but `GET /metrics` is refused.

use std::error::Error;
use std::io::{self, Read, Write as _};
use std::time::{Duration, Instant};

use nightshift_core::metrics::CONTENT_TYPE;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::report;

/// The request line and headers of any scraper are much shorter.
const MAX_REQUEST_LEN: usize = 8 << 10;
/// The time for a client to send its request, and to take the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

type Text = Result<Option<String>, Box<dyn Error>>;

/// An answer: the status line's end, further headers, and the body.
struct Answer {
    status: &'static str,
    headers: &'static str,
    body: String,
}

pub fn answer(text: impl FnOnce() -> Text) -> io::Result<()> {
    let (input, output) = (io::stdin(), io::stdout());
    // In tests it is a pipe, which has no timeout.
    let _pipe = set_socket_timeout(&input, Timeout::Recv, Some(REQUEST_TIMEOUT));
    let _pipe = set_socket_timeout(&output, Timeout::Send, Some(REQUEST_TIMEOUT));
    let Some(request) = read_request(input.lock(), Instant::now() + REQUEST_TIMEOUT)? else {
        return Ok(());
    };
    let mut output = output.lock();
    output.write_all(&respond(&request, text))?;
    output.flush()
}

/// The head of the request; `None` if the client closed the connection before its end, or was too slow.
fn read_request(mut input: impl Read, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST_LEN {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(read) => request.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
    }
    Ok(Some(request))
}

fn respond(request: &[u8], text: impl FnOnce() -> Text) -> Vec<u8> {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let Answer { status, headers, body } = match words[..] {
        _ if request.len() >= MAX_REQUEST_LEN => refuse("431 Request Header Fields Too Large", ""),
        [b"GET", target, version] if version.starts_with(b"HTTP/1.") => {
            match target.split(|byte| *byte == b'?').next() {
                Some(b"/metrics") => metrics(text),
                _ => refuse("404 Not Found", ""),
            }
        }
        [_, _, version] if version.starts_with(b"HTTP/1.") => {
            refuse("405 Method Not Allowed", "Allow: GET\r\n")
        }
        _ => refuse("400 Bad Request", ""),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn refuse(status: &'static str, headers: &'static str) -> Answer {
    Answer { status, headers, body: format!("{status}: the metrics are at /metrics\n") }
}

fn metrics(text: impl FnOnce() -> Text) -> Answer {
    let unavailable = |body: &str| {
        let body = body.to_owned();
        Answer { status: "503 Service Unavailable", headers: "", body }
    };
    match text() {
        Ok(Some(body)) => Answer { status: "200 OK", headers: "", body },
        Ok(None) => {
            unavailable("the daemon has written no report yet; start it: systemctl enable --now nightshift\n")
        }
        Err(error) => {
            tracing::error!("cannot read the report: {}", report::in_full(&*error));
            unavailable(
                "the report of the daemon cannot be read; see: journalctl -u 'nightshift-metrics@*'\n",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn response(request: &str) -> String {
        let text = || Ok(Some("# EOF\n".to_owned()));
        String::from_utf8(respond(request.as_bytes(), text)).unwrap()
    }

    #[test]
    fn only_get_metrics_is_answered() {
        for (request, status) in [
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 OK"),
            ("GET /metrics?collect=all HTTP/1.0\r\n\r\n", "200 OK"),
            ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
            ("GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
            ("GET /metrics\r\n\r\n", "400 Bad Request"),
            ("\u{16}\u{3}\u{1}", "400 Bad Request"),
            ("", "400 Bad Request"),
        ] {
            assert!(response(request).starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}");
        }
        let response = response("GET /metrics HTTP/1.1\r\n\r\n");
        assert!(response.ends_with("Content-Length: 6\r\nConnection: close\r\n\r\n# EOF\n"), "{response}");
    }

    #[test]
    fn a_request_is_read_to_its_end_and_no_further_than_the_limit() {
        let soon = Instant::now() + Duration::from_secs(60);
        let read = |bytes: &[u8]| read_request(bytes, soon).unwrap();
        assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n").unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), None, "the client left");
        let long = read(&vec![b'a'; 1 << 20]).unwrap();
        assert!(long.len() < MAX_REQUEST_LEN + 1024);
        let refused = respond(&long, || Ok(None));
        assert!(refused.starts_with(b"HTTP/1.1 431 "));
        let late = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(read_request(&b"GET / HTTP/1.1\r\n"[..], late).unwrap(), None);
    }

    #[test]
    fn without_a_report_the_service_is_unavailable() {
        let request = b"GET /metrics HTTP/1.1\r\n\r\n";
        assert!(respond(request, || Ok(None)).starts_with(b"HTTP/1.1 503 "));
        let failed = || Err("a damaged file with /a/secret/path".into());
        let failed = String::from_utf8(respond(request, failed)).unwrap();
        assert!(failed.starts_with("HTTP/1.1 503 ") && !failed.contains("secret"), "{failed}");
    }
}
