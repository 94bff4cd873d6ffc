#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a thread that ends with its test
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use nightshift_core::chain;
use nightshift_core::notify::Secret;

use super::*;

/// The URL of a receiver that answers one request so.
fn receiver(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/uuid", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _request = stream.read(&mut [0; 4096]).unwrap();
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
    });
    url
}

async fn sent(kind: fn(Secret) -> TargetKind, answer: &'static str) -> Result<Exceptions, String> {
    let target = Target {
        name: "x".parse().unwrap(),
        kind: kind(Secret::Inline(receiver(answer))),
        events: Vec::new(),
        every_night: false,
        give_up: Duration::from_secs(60),
    };
    let (cluster, host) = ("prod".parse().unwrap(), "m1".parse().unwrap());
    let at = std::time::SystemTime::now().try_into().unwrap();
    let notice = Notice::test(&cluster, &host, at, "1");
    send(&target, &notice, &[]).await.map_err(|error| chain(&error))
}

#[tokio::test]
async fn a_ping_that_the_receiver_did_not_record_is_not_sent_although_it_answers_200() {
    let ping = |url| TargetKind::Ping { url, ca: None };
    assert_eq!(sent(ping, "OK").await, Ok(Exceptions::default()));
    assert_eq!(sent(ping, "").await, Ok(Exceptions::default()));
    for (answer, reason) in [("OK (not found)", "no check with this URL"), ("OK (rate limited)", "too many")]
    {
        let failed = sent(ping, answer).await.unwrap_err();
        assert!(failed.starts_with("the receiver did not record the ping: ") && failed.contains(reason));
    }
    let webhook = |url| TargetKind::Webhook { url, format: WebhookFormat::Json, ca: None };
    assert_eq!(
        sent(webhook, "OK (not found)").await,
        Ok(Exceptions::default()),
        "others may write what they like"
    );
}
