//! Connections to a real sshd: host keys, logins, and commands.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use kit::lab::cmd::Cmd;
use kit::proxy::Proxy;
use nightshift_ssh::identity::public_key_line;
use nightshift_ssh::{ConnectError, ExecError, Identity, IdentityError, KnownHosts, Session, Timeouts, scan};
use support::{HOST, keygen, public, sshd, within};

fn known(text: &str) -> KnownHosts {
    KnownHosts::parse(text).unwrap()
}

async fn refusal(sshd: &support::Sshd, text: &str) -> ConnectError {
    match sshd.connect(&known(text)).await {
        Ok(_) => panic!("accepted with {text}"),
        Err(error) => {
            assert!(error.is_permanent() && error.is_host_key(), "{error}");
            error
        }
    }
}

#[tokio::test]
async fn a_session_to_a_pinned_host_is_opened_and_closed() {
    let Some(sshd) = sshd("") else { return };
    let session = sshd.session().await;
    assert!(!session.is_closed());
    session.close().await;
    within(Duration::from_secs(10), async {
        while !session.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_unknown_host_key_is_refused_with_its_fingerprint_and_what_to_do() {
    let Some(sshd) = sshd("") else { return };
    let refusal = refusal(&sshd, "").await;
    let text = refusal.to_string();
    let fingerprint =
        Cmd::new("ssh-keygen").args(["-lf", &sshd.remote("host_key.pub")]).run().unwrap().text();
    let fingerprint = fingerprint.split_whitespace().nth(1).unwrap();
    assert!(matches!(refusal, ConnectError::HostKeyUnknown { .. }), "{text}");
    assert!(text.contains(fingerprint) && text.contains(&format!("nightshift trust {HOST}")), "{text}");
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let Some(sshd) = sshd("") else { return };
    keygen(sshd.dir.path(), "other", &["-t", "ecdsa"]);
    for pinned in ["id.pub", "other.pub"] {
        let pinned = format!("[{HOST}]:{} {}\n", sshd.port, public(&sshd.path(pinned)));
        let ConnectError::HostKeyChanged { got, expected, .. } = refusal(&sshd, &pinned).await else {
            panic!("not reported as changed");
        };
        assert!(got.starts_with("SHA256:") && expected.len() == 1 && expected[0] != got);
    }
}

#[tokio::test]
async fn a_revoked_host_key_is_refused_even_if_it_is_pinned() {
    let Some(sshd) = sshd("") else { return };
    let line = public(&sshd.path("host_key.pub"));
    let refusal = refusal(&sshd, &format!("{HOST} {line}\n@revoked * {line}\n")).await;
    assert!(matches!(refusal, ConnectError::HostKeyRevoked { .. }), "{refusal}");
}

#[tokio::test]
async fn of_several_host_keys_the_pinned_one_is_negotiated() {
    let extra = tempfile::tempdir().unwrap();
    keygen(extra.path(), "rsa", &["-t", "rsa", "-b", "2048"]);
    keygen(extra.path(), "ecdsa", &["-t", "ecdsa"]);
    let settings = format!("HostKey {0}/rsa\nHostKey {0}/ecdsa\n", extra.path().display());
    let Some(sshd) = sshd(&settings) else { return };
    for key in ["rsa.pub", "ecdsa.pub"] {
        let line = public(&extra.path().join(key));
        sshd.connect(&known(&format!("[{HOST}]:{} {line}\n", sshd.port))).await.unwrap();
    }
    let mut offered = scan("127.0.0.1", sshd.port, Duration::from_secs(20)).await.unwrap();
    offered.sort_by(|a, b| a.key_type.cmp(&b.key_type));
    let types: Vec<_> = offered.iter().map(|key| key.key_type.as_str()).collect();
    assert_eq!(types, ["ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"]);
    assert_eq!(public_key_line(&offered[2].key), public(&extra.path().join("rsa.pub")));
}

#[tokio::test]
async fn a_host_certificate_is_accepted_only_for_its_principals() {
    let keys = tempfile::tempdir().unwrap();
    keygen(keys.path(), "ca", &["-t", "ed25519"]);
    for (name, principal) in [("good", HOST), ("foreign", "other.example.com")] {
        keygen(keys.path(), name, &["-t", "ed25519"]);
        let (ca, key) = (keys.path().join("ca"), keys.path().join(format!("{name}.pub")));
        let (ca, key) = (ca.to_str().unwrap(), key.to_str().unwrap());
        let sign = ["-q", "-s", ca, "-I", name, "-h", "-n", principal, "-V", "-1h:+1h", key];
        Cmd::new("ssh-keygen").args(sign).run().unwrap();
    }
    let authority = format!("@cert-authority *.example.com {}\n", public(&keys.path().join("ca.pub")));
    for name in ["good", "foreign"] {
        let settings =
            format!("HostKey {0}/{name}\nHostCertificate {0}/{name}-cert.pub\n", keys.path().display());
        let Some(sshd) = sshd(&settings) else { return };
        let result = sshd.connect(&known(&authority)).await;
        match (name, result) {
            ("good", Ok(_)) => {}
            ("foreign", Err(ConnectError::HostCertificate { reason, .. })) => {
                assert!(reason.contains("other.example.com"), "{reason}");
            }
            (_, other) => panic!("{name}: {:?}", other.err()),
        }
    }
}

#[tokio::test]
async fn ed25519_rsa_and_ecdsa_identities_log_in() {
    let Some(sshd) = sshd("") else { return };
    for (name, options) in [
        ("rsa", &["-t", "rsa", "-b", "2048"][..]),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("ecdsa", &["-t", "ecdsa"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ] {
        keygen(sshd.dir.path(), name, options);
        sshd.authorize("", &format!("{name}.pub"));
        let identity = Identity::load(&sshd.path(name)).unwrap();
        Session::connect(&sshd.endpoint(), &identity, &sshd.known_hosts(), &Timeouts::default())
            .await
            .unwrap();
    }
    assert!(sshd.log().contains("Accepted publickey"));
}

#[test]
fn a_key_with_a_passphrase_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    keygen(dir.path(), "locked", &["-t", "ed25519", "-N", "secret"]);
    keygen(dir.path(), "locked-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret"]);
    for name in ["locked", "locked-pem"] {
        let error = Identity::load(&dir.path().join(name)).unwrap_err();
        assert!(matches!(error, IdentityError::Encrypted { .. }), "{error:?}");
        assert!(error.to_string().contains("nightshift keys init"));
    }
}

#[tokio::test]
async fn a_refused_login_is_permanent_and_reported_with_user_and_key() {
    let Some(sshd) = sshd("") else { return };
    keygen(sshd.dir.path(), "stranger", &["-t", "ed25519"]);
    let stranger = Identity::load(&sshd.path("stranger")).unwrap();
    let refused = Session::connect(&sshd.endpoint(), &stranger, &sshd.known_hosts(), &Timeouts::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, ConnectError::AuthRefused { .. }) && refused.is_permanent(), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(&sshd.user) && text.contains(&stranger.fingerprint()), "{text}");
}

#[tokio::test]
async fn a_closed_port_is_a_temporary_error() {
    let Some(sshd) = sshd("") else { return };
    let endpoint = sshd.endpoint_at(kit::port::free());
    let known_hosts = sshd.known_hosts();
    let error = Session::connect(&endpoint, &sshd.identity(), &known_hosts, &Timeouts::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }) && !error.is_permanent(), "{error}");
}

#[tokio::test]
async fn a_connection_to_a_silent_server_ends_with_a_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::generate_ed25519(&dir.path().join("id"), "").unwrap();
    let endpoint = nightshift_ssh::Endpoint {
        address: "127.0.0.1".into(),
        port: silent.local_addr().unwrap().port(),
        user: "nobody".into(),
        known_as: Vec::new(),
    };
    let timeouts = Timeouts { connect: Duration::from_millis(300), ..Timeouts::default() };
    let nothing_pinned = KnownHosts::default();
    let attempt = Session::connect(&endpoint, &identity, &nothing_pinned, &timeouts);
    let error = within(Duration::from_secs(10), attempt).await.err().unwrap();
    assert!(matches!(error, ConnectError::Timeout { .. }) && !error.is_permanent(), "{error}");
}

#[tokio::test]
async fn a_command_returns_its_output_and_status() {
    let Some(sshd) = sshd("") else { return };
    let session = sshd.session().await;
    let limit = Duration::from_secs(20);
    let output = session.exec("echo out; echo err >&2; exit 3", 1000, limit).await.unwrap();
    assert_eq!(
        (output.status, output.stdout, output.stderr),
        (Some(3), b"out\n".to_vec(), b"err\n".to_vec())
    );
    let input = session.exec("cat", 1000, limit).await.unwrap();
    assert!(input.stdout.is_empty(), "nothing is on its standard input");
}

#[tokio::test]
async fn a_command_with_too_much_output_or_time_is_stopped() {
    let Some(sshd) = sshd("") else { return };
    let session = sshd.session().await;
    let flood = session.exec("while :; do echo yes; done", 10_000, Duration::from_secs(20)).await;
    assert!(matches!(flood, Err(ExecError::TooMuchOutput { limit: 10_000, .. })), "{flood:?}");
    let slow = session.exec("sleep 60", 1000, Duration::from_millis(300)).await;
    assert!(matches!(slow, Err(ExecError::Timeout { .. })), "{slow:?}");
    assert!(session.exec("true", 10, Duration::from_secs(20)).await.is_ok(), "the session still works");
}

#[tokio::test]
async fn a_command_on_an_sftp_only_login_is_forbidden() {
    for (settings, options) in [
        ("ForceCommand internal-sftp\n", ""),
        ("", "restrict,command=\"internal-sftp -R\""),
        ("", "restrict,command=\"echo no shell for you\""),
    ] {
        let Some(sshd) = sshd(settings) else { return };
        sshd.authorize(options, "id.pub");
        let session = sshd.session().await;
        let refused =
            session.exec("sha256sum /etc/hostname", 1000, Duration::from_secs(20)).await.unwrap_err();
        assert!(matches!(refused, ExecError::Forbidden { .. }), "{refused}");
        if options.contains("echo") {
            assert!(refused.to_string().contains("no shell for you"), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_cut_connection_ends_a_running_command_with_the_reason() {
    let Some(sshd) = sshd("") else { return };
    let proxy = Proxy::to(sshd.port).unwrap();
    let session = sshd.session_at(proxy.port, &Timeouts::default()).await;
    let line = format!("touch {}; sleep 60", sshd.remote("started"));
    let command = session.exec(&line, 1000, Duration::from_secs(50));
    let cut = async {
        within(Duration::from_secs(20), async {
            while !sshd.path("started").exists() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        drop(proxy);
    };
    let (result, ()) = tokio::join!(command, cut);
    let error = result.unwrap_err();
    assert!(matches!(error, ExecError::Disconnected { .. }), "{error}");
}

/// The error of a login, which an operator must not take for a refused key.
fn not_refused(result: Result<Session, ConnectError>) -> String {
    match result {
        Ok(_) => panic!("logged in"),
        Err(error @ ConnectError::Ended { .. }) => {
            assert!(!error.is_permanent(), "{error}");
            error.to_string()
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_login_banner_that_is_not_utf_8_is_named_and_others_do_not_matter() {
    let banners: [(&[u8], bool); 4] = [
        (b"R\xe9serv\xe9 aux personnes autoris\xe9es\n", false),
        ("R\u{e9}serv\u{e9}\n".as_bytes(), true),
        (b"\x1b[2Jonly\x07 control characters\n", true),
        (&[b'x'; 9000], true),
    ];
    for (banner, logs_in) in banners {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("banner");
        std::fs::write(&path, banner).unwrap();
        let Some(sshd) = sshd(&format!("Banner {}\n", path.display())) else { return };
        let connected = sshd.connect(&sshd.known_hosts()).await;
        if logs_in {
            connected.unwrap();
        } else {
            let text = not_refused(connected);
            assert!(text.contains("not UTF-8") && text.contains("Banner"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_during_the_login_is_not_a_refused_key() {
    let Some(sshd) = sshd("") else { return };
    // The client's part of the key exchange has about 1,000 bytes; the requests of the login follow.
    let mut in_login = false;
    for bytes in [1100, 1300] {
        let proxy = Proxy::to(sshd.port).unwrap();
        proxy.cut_after(kit::proxy::Way::Up, bytes);
        let endpoint = sshd.endpoint_at(proxy.port);
        let timeouts = Timeouts::default();
        let connected = Session::connect(&endpoint, &sshd.identity(), &sshd.known_hosts(), &timeouts).await;
        let error = connected.err().unwrap();
        assert!(!error.is_permanent(), "{bytes}: {error}");
        in_login |= matches!(error, ConnectError::Ended { during: "logging in", .. });
    }
    assert!(in_login, "no connection was cut after the key exchange");
}

#[tokio::test]
async fn a_second_factor_that_the_server_requires_is_named() {
    let Some(sshd) = sshd("AuthenticationMethods publickey,publickey\n") else { return };
    let error = sshd.connect(&sshd.known_hosts()).await.err().unwrap();
    assert!(matches!(error, ConnectError::FurtherFactor { .. }) && error.is_permanent(), "{error:?}");
    assert!(error.to_string().contains("further login method (publickey)"), "{error}");
}

#[tokio::test]
async fn a_refusal_in_place_of_the_version_is_quoted() {
    let Some(sshd) = sshd("") else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"Not allowed at this time\r\n").await.unwrap();
    };
    let (identity, known_hosts, timeouts) = (sshd.identity(), sshd.known_hosts(), Timeouts::default());
    let endpoint = sshd.endpoint_at(port);
    let (connected, ()) =
        tokio::join!(Session::connect(&endpoint, &identity, &known_hosts, &timeouts), serve);
    let text = not_refused(connected);
    assert!(text.contains("\"Not allowed at this time\""), "{text}");
}

/// Sends these bytes on each connection to a listener, while `client` runs.
async fn beside_a_server<T>(bytes: &[u8], client: impl AsyncFnOnce(u16) -> T) -> T {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serve = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _gone = tokio::io::AsyncWriteExt::write_all(&mut stream, bytes).await;
        }
    };
    tokio::select! {
        done = client(listener.local_addr().unwrap().port()) => done,
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test]
async fn a_scan_of_a_host_that_refuses_connections_quotes_it() {
    let scanned = beside_a_server(b"Not allowed at this time\r\n", async |port| {
        scan("127.0.0.1", port, Duration::from_secs(20)).await
    });
    let error = scanned.await.unwrap_err().to_string();
    assert!(error.contains("\"Not allowed at this time\""), "{error}");
}
