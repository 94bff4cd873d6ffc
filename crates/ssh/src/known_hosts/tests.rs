#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey};

use super::{
    CertificateVerdict, HostKeyVerdict, KnownHosts, KnownHostsError, Pin, pin, pin_all, pin_lines, replace,
};

const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBMXLeJXyW8erkak5HOWAhUynBigd/4tT3y3XcoUgmJC";
const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFvYPtc7BuX2EKMJ5ajforusyNnsE4z1XokLGXj/6Fs9";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDo0GMPDfsDovU48IQhDu56Al8e7Cri63rxg/G+doNtRoVRdN6NVyDD+TRu3hNuOHIykaHMBi6MY5T2C1BhObj8=";
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCoT6ppAYpFD2HD0KzS0MYjLSr5zHN5GGXNnJKQzNdTBfkFe4qybpfPAhEeG/wxlr/sDDo/CSZDuVUypbQVm+cpfFARSf1t9AKjvqXOQ3P6VRgDih7CYEUlmvNcGJFNgZLwDlN1kNyghnpl0ArI8CBUHXj3kyb+HsM1nh0uOnhXtjw4Nr1ieWVp5yOxT6JAP8drINspu23BvzP9/uTlwXAlESUeL1FuJ8+mjy2/Nj0xte/jMe/L3xwbC3RzXSOsvGVbTdAAGXWlBIdFyE6I/J52vWZeLiyPgJZaTocIAIjuyd62UrJwgmvvhbmbnQUCSEtSYkA92x3rPRix5IalOoBl";

/// Created by `ssh-keygen -H` from `node07.example.com` and `[node08.example.com]:2222`.
const HASHED_A: &str = "|1|EBy2LmpgAmdbSRzYy3bmAPaFICs=|vNj5cRCRcp9f7zxlqy+XTyP0Fow=";
const HASHED_B_2222: &str = "|1|LmjeL33av6F8ynUt61Rp8ic8DNw=|Y7Q9sm1AjvCGLiy4wdH3a69k08w=";

fn key(line: &str) -> PublicKey {
    PublicKey::from_openssh(line).unwrap()
}

fn fingerprint(line: &str) -> String {
    super::fingerprint(key(line).key_data())
}

fn verdict(text: &str, name: &str, port: u16, shown: &str) -> HostKeyVerdict {
    KnownHosts::parse(text).unwrap().check(&[name], port, &key(shown))
}

use HostKeyVerdict::{Revoked, Trusted, Unknown};

fn changed(expected: &[&str]) -> HostKeyVerdict {
    HostKeyVerdict::Changed { expected: expected.iter().map(|line| fingerprint(line)).collect() }
}

#[test]
fn a_pinned_key_is_trusted_and_any_other_has_changed() {
    let text = format!("# the masters\n\nmaster1 {A} a comment # with a hash\n");
    assert_eq!(verdict(&text, "master1", 22, A), Trusted);
    assert_eq!(verdict(&text, "MASTER1", 22, A), Trusted);
    assert_eq!(verdict(&text, "master1", 22, B), changed(&[A]));
    assert_eq!(verdict(&text, "master2", 22, A), Unknown);
}

#[test]
fn a_key_of_another_type_is_a_change_too() {
    let text = format!("master1 {RSA}\n");
    assert_eq!(verdict(&text, "master1", 22, A), changed(&[RSA]));
    assert_eq!(verdict(&text, "master1", 22, RSA), Trusted);
}

#[test]
fn several_pinned_keys_of_one_type_are_all_trusted() {
    let text = format!("master1 {A}\nmaster1 {B}\nmaster1 {ECDSA}\n");
    for good in [A, B, ECDSA] {
        assert_eq!(verdict(&text, "master1", 22, good), Trusted);
    }
    assert_eq!(verdict(&text, "master1", 22, RSA), changed(&[A, B, ECDSA]));
}

#[test]
fn lists_wildcards_and_negation_are_supported() {
    let text = format!("master1,10.0.0.1,node*.example.com,!node13.example.com {A}\n");
    for host in ["master1", "10.0.0.1", "node07.example.com", "Node07.Example.Com"] {
        assert_eq!(verdict(&text, host, 22, A), Trusted, "{host}");
    }
    for host in ["node13.example.com", "node07.example.org", "10.0.0.11", "!node13.example.com"] {
        assert_eq!(verdict(&text, host, 22, A), Unknown, "{host}");
    }
    let known = KnownHosts::parse(&text).unwrap();
    let names = ["node07.example.com", "node13.example.com"];
    assert_eq!(known.check(&names, 22, &key(A)), Unknown, "excluded under one of its names");
}

#[test]
fn fields_may_be_separated_by_tabs_and_many_spaces() {
    let text = format!("  @revoked \t master1\t\t{}\n", B.replace(' ', "   "));
    assert_eq!(verdict(&text, "master1", 22, B), Revoked);
}

#[test]
fn names_hashed_by_ssh_keygen_are_found() {
    let text = format!("{HASHED_A} {A}\n{HASHED_B_2222} {B}\n");
    assert_eq!(verdict(&text, "node07.example.com", 22, A), Trusted);
    assert_eq!(verdict(&text, "NODE07.example.com", 22, A), Trusted);
    assert_eq!(verdict(&text, "node08.example.com", 2222, B), Trusted);
    assert_eq!(verdict(&text, "node08.example.com", 22, B), Unknown);
    assert_eq!(verdict(&text, "node09.example.com", 22, A), Unknown);
}

#[test]
fn a_port_is_part_of_the_name_but_a_bare_name_matches_every_port() {
    let text = format!("[remote]:2222 {A}\nremote {B}\n");
    assert_eq!(verdict(&text, "remote", 2222, A), Trusted);
    assert_eq!(verdict(&text, "remote", 2222, B), changed(&[A]));
    assert_eq!(verdict(&text, "remote", 22, B), Trusted);
    assert_eq!(verdict(&text, "remote", 2200, B), Trusted);
    assert_eq!(verdict(&text, "remote", 2200, A), Unknown);
}

#[test]
fn a_revoked_key_is_refused_at_any_position_of_its_line() {
    for text in [
        format!("master1 {A}\n@revoked master1 {A}\n"),
        format!("@revoked * {A}\nmaster1 {A}\n"),
        format!("@revoked master1 {A}\n"),
    ] {
        assert_eq!(verdict(&text, "master1", 22, A), Revoked);
    }
    let elsewhere = format!("@revoked master2 {A}\nmaster1 {A}\n");
    assert_eq!(verdict(&elsewhere, "master1", 22, A), Trusted);
    let bare = format!("@revoked master1 {A}\n");
    assert_eq!(verdict(&bare, "master1", 2222, A), Revoked, "revoked under the bare name");
}

#[test]
fn an_authoritys_key_is_not_trusted_as_a_host_key() {
    let text = format!("@cert-authority * {A}\n");
    assert_eq!(verdict(&text, "master1", 22, A), Unknown);
}

#[test]
fn keys_of_unused_types_are_ignored() {
    let text = format!(
        "master1 ssh-dss AAAAB3NzaC1kc3MAAACBAP\nmaster1 sk-ssh-ed25519@openssh.com AAAA\nmaster1 {A}\n"
    );
    assert_eq!(verdict(&text, "master1", 22, A), Trusted);
}

#[test]
fn the_error_for_an_invalid_line_contains_its_number_and_the_reason() {
    for (line, reason) in [
        ("#nightshift-former yesterday master1 ssh-ed25519 AAAA", "has no time such as"),
        ("#nightshift-former 2026-11-25T08:00:00Z", "without a host"),
        ("@revoke master1 ssh-ed25519 AAAA", "unknown marker \"@revoke\""),
        ("@revoked", "without a host"),
        ("master1", "without a key"),
        ("master1 ssh-ed25519", "without a key"),
        ("master1 ssh-ed25519 AAAA", "invalid ssh-ed25519 key"),
        ("master1 1024 35 1234567", "not a key type"),
        ("|1|abc ssh-ed25519 AAAA", "hashed host name"),
        ("|2|YQ==|YQ== ssh-ed25519 AAAA", "hashed host name"),
    ] {
        let error = KnownHosts::parse(&format!("# comment\n\nmaster2 {A}\n{line}\n")).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("known_hosts:4: ") && text.contains(reason), "{text}");
    }
}

#[test]
fn a_missing_file_is_an_error_and_not_an_empty_list() {
    let error = KnownHosts::load("/nonexistent/known_hosts".as_ref()).unwrap_err();
    assert!(matches!(error, KnownHostsError::Missing { .. }), "{error}");
}

#[test]
fn a_session_has_only_the_lines_for_its_host() {
    let text = format!("master1 {A}\n[master1]:2222 {B}\nnode1 {RSA}\n@revoked * {ECDSA}\n");
    let of_host = KnownHosts::parse(&text).unwrap().for_host(&["master1"], 2222);
    assert_eq!(of_host.entries.len(), 3);
    assert_eq!(of_host.key_types(&["master1"], 2222), [Algorithm::Ed25519, Algorithm::Ed25519]);
}

#[test]
fn pinning_adds_one_line_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_hosts");
    let before = format!("# a comment\nmaster1 {A} no newline");
    fs::write(&path, &before).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(pin(&path, "Node1.example.com", 2222, &key(B)).unwrap());
    assert!(!pin(&path, "node1.example.com", 2222, &key(B)).unwrap(), "pinned already");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{before}\n[node1.example.com]:2222 {B}\n"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    assert_eq!(KnownHosts::load(&path).unwrap().check(&["node1.example.com"], 2222, &key(B)), Trusted);
}

#[test]
fn the_first_pin_creates_a_file_that_only_its_owner_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_hosts");
    assert!(pin(&path, "master1", 22, &key(A)).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("master1 {A}\n"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn replaced_keys_are_kept_as_former_ones_which_openssh_takes_for_comments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_hosts");
    fs::write(&path, format!("# a comment\nmaster1 {A}\nmaster1 {ECDSA}\nmaster2 {A}\n@revoked * {RSA}"))
        .unwrap();
    let now = "2026-11-25T08:00:00.5Z".parse().unwrap();
    assert_eq!(replace(&path, &["master1"], 22, &[&key(B), &key(ECDSA)], now).unwrap(), 1);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        format!(
            "# a comment\n#nightshift-former 2026-11-25T08:00:00.5Z master1 {A}\nmaster1 {ECDSA}\nmaster2 {A}\n\
             @revoked * {RSA}\nmaster1 {B}\n"
        )
    );
    let known = KnownHosts::load(&path).unwrap();
    assert_eq!(known.check(&["master1"], 22, &key(A)), changed(&[ECDSA, B]), "no login with a former key");
    let signed = |at: &str| known.check_signer(&["master1"], 22, &key(A), at.parse().unwrap());
    assert_eq!(signed("2026-11-25T08:00:00.4Z"), Trusted, "also within the second of the replacement");
    assert_eq!(signed("2026-11-25T08:00:00.5Z"), changed(&[ECDSA, B]));
    assert_eq!(known.check_signer(&["master1"], 22, &key(RSA), now), Revoked);

    fs::write(&path, format!("master1,master2 {A}\n")).unwrap();
    let shared = replace(&path, &["master1"], 22, &[&key(B)], now).unwrap_err();
    assert!(matches!(shared, KnownHostsError::Shared { line: 1, .. }), "{shared}");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("master1,master2 {A}\n"), "nothing was changed");
    assert_eq!(
        replace(&path, &["master1", "master2"], 22, &[&key(B)], now).unwrap(),
        1,
        "two names of one host"
    );
}

#[test]
fn pinning_follows_a_link_instead_of_replacing_it() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("known_hosts"));
    fs::write(&real, "").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    pin(&link, "master1", 22, &key(A)).unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), format!("master1 {A}\n"));
}

#[test]
fn a_pattern_or_a_second_line_cannot_be_pinned_as_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_hosts");
    for name in ["", "*", "a b", "a,b", "a\n@revoked", "!a", "#a"] {
        assert!(matches!(pin(&path, name, 22, &key(A)), Err(KnownHostsError::Name { .. })), "{name:?}");
    }
    assert!(!path.exists());
}

const NOW: u64 = 1_800_000_000;

struct Authority(PrivateKey);

impl Authority {
    fn new() -> Self {
        Self(PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap())
    }

    fn line(&self, marker: &str, hosts: &str) -> String {
        format!("{marker} {hosts} {}\n", self.0.public_key().to_openssh().unwrap())
    }

    fn sign(&self, cert_type: CertType, principals: &[&str], valid: std::ops::Range<u64>) -> Certificate {
        let mut builder = Builder::new_with_random_nonce(
            &mut safe_rng(),
            key(A).key_data().clone(),
            valid.start,
            valid.end,
        )
        .unwrap();
        builder.cert_type(cert_type).unwrap();
        for principal in principals {
            builder.valid_principal(*principal).unwrap();
        }
        if principals.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        builder.sign(&self.0).unwrap()
    }

    fn good(&self) -> Certificate {
        self.sign(CertType::Host, &["master1.example.com"], NOW - 10..NOW + 10)
    }
}

fn certificate_verdict(text: &str, name: &str, port: u16, certificate: &Certificate) -> CertificateVerdict {
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(NOW);
    KnownHosts::parse(text).unwrap().check_certificate(&[name], port, certificate, now)
}

#[test]
fn a_host_certificate_of_a_trusted_authority_is_trusted() {
    let authority = Authority::new();
    let text = authority.line("@cert-authority", "*.example.com");
    let certificate = authority.good();
    assert_eq!(
        certificate_verdict(&text, "master1.example.com", 22, &certificate),
        CertificateVerdict::Trusted
    );
    assert_eq!(
        certificate_verdict(&text, "master1.example.com", 2222, &certificate),
        CertificateVerdict::Trusted,
        "the authority is trusted for the bare name"
    );
    let wildcard = authority.sign(CertType::Host, &["*.example.com"], NOW - 10..NOW + 10);
    assert_eq!(certificate_verdict(&text, "master1.example.com", 22, &wildcard), CertificateVerdict::Trusted);
}

#[test]
fn an_invalid_certificate_is_refused_with_the_reason() {
    let authority = Authority::new();
    let text = authority.line("@cert-authority", "*.example.com");
    let host = ["master1.example.com"];
    let valid = NOW - 10..NOW + 10;
    for (certificate, expected) in [
        (authority.sign(CertType::User, &host, valid.clone()), "user certificate"),
        (authority.sign(CertType::Host, &["master2.example.com"], valid.clone()), "for master2.example.com"),
        (authority.sign(CertType::Host, &[], valid), "no principals"),
        (authority.sign(CertType::Host, &host, NOW - 20..NOW), "expired"),
        (authority.sign(CertType::Host, &host, NOW + 1..NOW + 20), "not valid yet"),
    ] {
        match certificate_verdict(&text, host[0], 22, &certificate) {
            CertificateVerdict::Refused { reason } => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn a_certificate_of_an_authority_that_is_not_trusted_for_the_host_is_ignored() {
    let authority = Authority::new();
    let certificate = authority.good();
    for text in [
        String::new(),
        authority.line("@cert-authority", "*.example.org"),
        Authority::new().line("@cert-authority", "*"),
        authority.line("", "master1.example.com"),
    ] {
        assert_eq!(
            certificate_verdict(&text, "master1.example.com", 22, &certificate),
            CertificateVerdict::NoAuthority
        );
    }
}

#[test]
fn a_certificate_with_a_revoked_key_or_authority_is_refused() {
    let authority = Authority::new();
    let trusted = authority.line("@cert-authority", "*");
    let certificate = authority.good();
    for revoked in [authority.line("@revoked", "*"), format!("@revoked master1.example.com {A}\n")] {
        assert_eq!(
            certificate_verdict(&format!("{trusted}{revoked}"), "master1.example.com", 22, &certificate),
            CertificateVerdict::Revoked
        );
    }
}

#[test]
fn the_pinned_keys_of_a_host_are_listed_once_without_revoked_ones_and_authorities() {
    let text = format!(
        "{HASHED_A} {A}\nnode07.example.com,10.0.0.7 {A}\n[10.0.0.7]:2222 {ECDSA}\nnode08.example.com {B}\n\
         node07.example.com {RSA}\n@revoked * {RSA}\n@cert-authority *.example.com {B}\n\
         #nightshift-former 2026-11-22T08:00:00Z node07.example.com {B}\n"
    );
    let known = KnownHosts::parse(&text).unwrap();
    let lines = |port| {
        let keys = known.pinned(&["node07.example.com", "10.0.0.7"], port);
        keys.into_iter().map(|(kind, key)| format!("{kind} {key}")).collect::<Vec<_>>()
    };
    assert_eq!(lines(22), [A]);
    assert_eq!(lines(2222), [ECDSA, A]);
}

#[test]
fn the_keys_for_a_port_are_preferred_to_those_of_the_bare_name() {
    let text =
        format!("{HASHED_A} {A}\nnode07.example.com {RSA}\n[10.0.0.7]:2222 {ECDSA}\n@revoked * {RSA}\n");
    let known = KnownHosts::parse(&text).unwrap();
    let keys = |port| known.plain_keys(&["node07.example.com", "10.0.0.7"], port);
    assert_eq!((keys(22), keys(2222), keys(2200)), (vec![key(A)], vec![key(ECDSA)], vec![key(A)]));
    assert!(known.plain_keys(&["node08.example.com"], 22).is_empty());
}

#[test]
fn many_keys_are_pinned_at_once_and_what_is_pinned_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    fs::write(&path, format!("# kept\nmaster1 {A}")).unwrap();
    let of = |name: &str, port, line| Pin { name: name.to_owned(), port, key: key(line) };
    pin_all(&path, &[of("master1", 22, A), of("node1", 2222, B), of("node1", 2222, RSA)]).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.starts_with(&format!("# kept\nmaster1 {A}\n[node1]:2222 ")), "{text}");
    assert_eq!(verdict(&text, "node1", 2222, RSA), Trusted);
    pin_all(&path, &[of("node*", 22, A)]).unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn the_keys_of_machines_that_were_rebuilt_are_pinned_instead_of_the_former_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    fs::write(&path, format!("master1 {A}\nmaster2 {A}\n@revoked * {ECDSA}\n")).unwrap();
    let lines = [
        format!("master1,10.0.0.1 {B}"),
        format!("[node1]:2222,[10.0.0.2]:2222 {A}"),
        format!("master1,10.0.0.1 {RSA}"),
        "master1,10.0.0.1 ssh-dss AAAAB3NzaC1kc3M=".to_owned(),
    ];
    let pin = |lines: &[String]| pin_lines(&path, lines, "2026-11-28T22:00:00Z".parse().unwrap());
    assert!(pin(&lines).unwrap());
    let text = fs::read_to_string(&path).unwrap();
    for key in [B, RSA] {
        assert_eq!(verdict(&text, "master1", 22, key), Trusted, "{text}");
    }
    assert_eq!(verdict(&text, "master1", 22, A), changed(&[B, RSA]));
    assert_eq!(verdict(&text, "master2", 22, A), Trusted, "others stay");
    assert_eq!(verdict(&text, "node1", 2222, A), Trusted);
    assert!(text.contains(&format!("#nightshift-former 2026-11-28T22:00:00Z master1 {A}")), "{text}");
    assert!(!pin(&lines).unwrap(), "a repetition");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    for bad in [
        "master1",
        "master1 ssh-ed25519",
        "[node1]:x ssh-ed25519",
        "[a]:22,[b]:23 KEY",
        &format!("master1 {ECDSA}"),
    ] {
        let bad = bad.replace("KEY", A);
        pin(std::slice::from_ref(&bad)).expect_err(&bad);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn what_is_pinned_once_is_pinned_a_second_time_without_a_change() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let lines = ["e1 ", "m1.lab.test "].map(|host| [A, ECDSA].map(|key| format!("{host}{key}"))).concat();
    let now = "2026-11-28T22:00:00Z".parse().unwrap();
    assert!(pin_lines(&path, &lines, now).unwrap());
    assert!(!pin_lines(&path, &lines, now).unwrap(), "{}", fs::read_to_string(&path).unwrap());
}

#[test]
fn pins_that_are_added_at_the_same_time_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let path = &path;
    std::thread::scope(|scope| {
        for host in 0..8 {
            scope.spawn(move || pin(path, &format!("host{host}"), 22, &key(A)).unwrap());
        }
    });
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 8, "{text}");
}
