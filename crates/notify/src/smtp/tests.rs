#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)] // a thread that ends with its test
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use nightshift_core::chain;

use super::*;

/// A server on loopback that does this with its only connection.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    port
}

async fn send(port: u16, to: &[&str], limit: Duration) -> Result<Exceptions, String> {
    let to = to.iter().map(|to| to.parse().unwrap()).collect();
    let envelope = Envelope::new(Some("ns@site.test".parse().unwrap()), to).unwrap();
    let url = Url::parse(&format!("smtp://127.0.0.1:{port}")).unwrap();
    let server = Server { url: &url, ca: None, hello: "m1".to_owned() };
    let sent = server.send(&envelope, b"Subject: x\r\n\r\ntext\r\n", limit).await;
    sent.map_err(|error| chain(&error))
}

#[tokio::test]
async fn a_server_that_never_stops_greeting_is_left_and_one_that_is_silent_too_with_the_reason() {
    for line in ["2222222222222222", "220-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"] {
        let endless = server(move |mut stream| {
            let block = line.repeat(1 << 12);
            while stream.write_all(block.as_bytes()).is_ok() {}
        });
        let begun = Instant::now();
        let failed = send(endless, &["a@b.c"], Duration::from_secs(50)).await.unwrap_err();
        assert!(failed.ends_with("it sends too much"), "{failed}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    }
    let silent = server(|stream| {
        let mut line = String::new();
        let _ended = BufReader::new(stream).read_line(&mut line);
    });
    let failed = send(silent, &["a@b.c"], Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(failed, "the receiver did not answer within 1 s");
    // Each answer in time, but too many of them.
    let slow = server(|mut stream| {
        while stream.write_all(b"220-x\r\n").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let failed = send(slow, &["a@b.c"], Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(failed, "the receiver did not answer within 1 s");
}

/// Accepts a mail, but not for these, with the code of the refusal.
fn converse(stream: TcpStream, refused: &[(&str, u16)]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let say = |line: &str| (&stream).write_all(format!("{line}\r\n").as_bytes()).unwrap();
    say("220 site.test");
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            return;
        }
        let is_rcpt = |(to, _): &&(&str, u16)| line.trim_end() == format!("RCPT TO:<{to}>");
        if let Some((_, code)) = refused.iter().find(is_rcpt) {
            say(&format!("{code} not this one"));
            continue;
        }
        match line.trim_end() {
            "DATA" => say("354 go on"),
            "." => say("250 accepted"),
            "QUIT" => return say("221 bye"),
            command if command.starts_with(['E', 'M', 'R']) => say("250 ok"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_recipient_that_the_server_refuses_is_named_and_the_others_get_the_mail() {
    let limit = Duration::from_secs(30);
    let some = server(|stream| converse(stream, &[("two@e.f", 550), ("four@e.f", 450)]));
    let others = send(some, &["one@e.f", "two@e.f", "three@e.f", "four@e.f"], limit).await.unwrap();
    for (exceptions, to, code) in [(&others.refused, "two@e.f", "550"), (&others.later, "four@e.f", "450")] {
        let [exception] = &exceptions[..] else { panic!("{others:?}") };
        assert_eq!(exception.to, to);
        assert!(exception.reason.contains(code) && exception.reason.contains("not this one"), "{others:?}");
    }
    let all = server(|stream| converse(stream, &[("one@e.f", 550), ("two@e.f", 450)]));
    let failed = send(all, &["one@e.f", "two@e.f"], limit).await.unwrap_err();
    assert!(failed.contains("none of the recipients: ") && failed.contains("one@e.f: "), "{failed}");
    assert!(failed.contains("; one@e.f: ") || failed.contains("; two@e.f: "), "{failed}");
}
