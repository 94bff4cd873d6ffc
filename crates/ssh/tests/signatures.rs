//! ssh-keygen and nightshift accept each other's signatures.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use nightshift_ssh::signature::{Signatory, verify, verify_digest};
use nightshift_ssh::{KnownHosts, SignatureError, Signer};
use sha2::{Digest, Sha512};
use support::{keygen, public};

const HOST: &str = "master1.example.com";
const SPACE: &str = "nightshift-set";
/// When the content was made.
const MADE_AT: &str = "2026-11-22T22:00:00Z";
const CONTENT: &[u8] = b"{ \"format\": 1 }\n";

const KEYS: [(&str, &[&str]); 3] =
    [("ed25519", &["-t", "ed25519"]), ("ecdsa", &["-t", "ecdsa"]), ("rsa", &["-t", "rsa", "-b", "2048"])];

fn pinned(dir: &Path, key: &str) -> KnownHosts {
    let line = public(&dir.join(format!("{key}.pub")));
    KnownHosts::parse(&format!("{HOST} {line}\n")).unwrap()
}

fn signatory<'a>(known_hosts: &'a KnownHosts, names: &'a [&'a str]) -> Signatory<'a, &'a str> {
    Signatory { known_hosts, names, port: 22, made_at: MADE_AT.parse().unwrap() }
}

fn keygen_verifies(dir: &Path, key: &str, pem: &str, space: &str) -> bool {
    let line = public(&dir.join(format!("{key}.pub")));
    fs::write(dir.join("allowed"), format!("{HOST} {line}\n")).unwrap();
    fs::write(dir.join("content"), CONTENT).unwrap();
    fs::write(dir.join("sig"), pem).unwrap();
    let status = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-I", HOST, "-n", space, "-f"])
        .arg(dir.join("allowed"))
        .arg("-s")
        .arg(dir.join("sig"))
        .stdin(File::open(dir.join("content")).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

#[test]
fn ssh_keygen_accepts_our_signatures() {
    let dir = tempfile::tempdir().unwrap();
    for (key, options) in KEYS {
        keygen(dir.path(), key, options);
        let signer = Signer::from_host_key(&dir.path().join(key)).unwrap();
        let digest: [u8; 64] = Sha512::digest(CONTENT).into();
        for pem in [signer.sign(SPACE, CONTENT).unwrap(), signer.sign_digest(SPACE, &digest).unwrap()] {
            assert!(keygen_verifies(dir.path(), key, &pem, SPACE), "{key}");
            assert!(!keygen_verifies(dir.path(), key, &pem, "nightshift-archive"), "{key}");
        }
        assert_eq!(signer.public_line(), public(&dir.path().join(format!("{key}.pub"))));
    }
}

#[test]
fn we_accept_the_signatures_of_ssh_keygen_and_our_own() {
    let dir = tempfile::tempdir().unwrap();
    for (key, options) in KEYS {
        keygen(dir.path(), key, options);
        let content = dir.path().join(key).with_extension("json");
        fs::write(&content, CONTENT).unwrap();
        let status = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", SPACE, "-f"])
            .args([&dir.path().join(key), &content])
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        let theirs = fs::read_to_string(content.with_extension("json.sig")).unwrap();
        let signer = Signer::from_host_key(&dir.path().join(key)).unwrap();
        let known = pinned(dir.path(), key);
        let digest: [u8; 64] = Sha512::digest(CONTENT).into();
        for pem in [theirs, signer.sign(SPACE, CONTENT).unwrap()] {
            assert_eq!(
                verify(SPACE, CONTENT, &pem, signatory(&known, &[HOST])).unwrap(),
                signer.fingerprint()
            );
            verify_digest(SPACE, &digest, &pem, signatory(&known, &[HOST])).unwrap();
        }
    }
}

#[test]
fn a_signature_is_valid_only_for_its_content_its_namespace_and_its_host() {
    let dir = tempfile::tempdir().unwrap();
    keygen(dir.path(), "key", &["-t", "ed25519"]);
    keygen(dir.path(), "other", &["-t", "ed25519"]);
    let signer = Signer::from_host_key(&dir.path().join("key")).unwrap();
    let pem = signer.sign(SPACE, CONTENT).unwrap();
    let known = pinned(dir.path(), "key");
    let check = |space: &str, content: &[u8], pem: &str, known: &KnownHosts, host: &str| {
        verify(space, content, pem, signatory(known, &[host])).unwrap_err()
    };
    let changed = check(SPACE, b"{ \"format\": 2 }\n", &pem, &known, HOST);
    assert!(matches!(changed, SignatureError::Wrong { .. }), "{changed}");
    let misused = check("nightshift-archive", CONTENT, &pem, &known, HOST);
    assert!(matches!(misused, SignatureError::Namespace { .. }), "{misused}");
    let foreign = check(SPACE, CONTENT, &pem, &known, "master2.example.com");
    assert!(matches!(foreign, SignatureError::NotPinned { .. }), "{foreign}");
    let replaced = check(SPACE, CONTENT, &pem, &pinned(dir.path(), "other"), HOST);
    assert!(matches!(replaced, SignatureError::OtherKey { .. }), "{replaced}");
    let line = signer.public_line();
    let revoked = KnownHosts::parse(&format!("{HOST} {line}\n@revoked * {line}\n")).unwrap();
    let revoked = check(SPACE, CONTENT, &pem, &revoked, HOST);
    assert!(matches!(revoked, SignatureError::Revoked { .. }), "{revoked}");
    let torn = check(SPACE, CONTENT, &pem[..pem.len() / 2], &known, HOST);
    assert!(matches!(torn, SignatureError::Malformed { .. }), "{torn}");
    let endless = check(SPACE, CONTENT, &"x".repeat(20_000), &known, HOST);
    assert!(matches!(endless, SignatureError::TooLong), "{endless}");
}

#[test]
fn a_signature_as_nightshift_0_1_wrote_it_is_verified_for_ever() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/formats/1");
    let archive = data.join("master1.site.test_2026.11.27.tgz");
    let key = fs::read_to_string(data.join("host_key.pub")).unwrap();
    let known = KnownHosts::parse(&format!("{HOST} {key}")).unwrap();
    let pem = fs::read_to_string(archive.with_extension("tgz.sig")).unwrap();
    verify("nightshift-archive", &fs::read(archive).unwrap(), &pem, signatory(&known, &[HOST])).unwrap();
}

#[test]
fn a_former_key_counts_for_what_it_signed_before_it_was_replaced_unless_it_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    keygen(dir.path(), "old", &["-t", "ed25519"]);
    keygen(dir.path(), "new", &["-t", "ed25519"]);
    let signer = Signer::from_host_key(&dir.path().join("old")).unwrap();
    let pem = signer.sign(SPACE, CONTENT).unwrap();
    let (old, new) = (signer.public_line(), public(&dir.path().join("new.pub")));
    let check = |text: String| {
        let known = KnownHosts::parse(&text).unwrap();
        verify(SPACE, CONTENT, &pem, signatory(&known, &[HOST]))
    };
    let replaced = |at: &str| format!("#nightshift-former {at} {HOST} {old}\n{HOST} {new}\n");
    check(replaced("2026-11-25T08:00:00Z")).unwrap();
    let later = check(replaced("2026-11-22T08:00:00Z")).unwrap_err();
    assert!(matches!(later, SignatureError::OtherKey { .. }), "{later}");
    let revoked = check(format!("{}@revoked {HOST} {old}\n", replaced("2026-11-25T08:00:00Z"))).unwrap_err();
    assert!(matches!(revoked, SignatureError::Revoked { .. }), "{revoked}");
    let other =
        check(format!("#nightshift-former 2026-11-25T08:00:00Z other {old}\n{HOST} {new}\n")).unwrap_err();
    assert!(matches!(other, SignatureError::OtherKey { .. }), "{other}");
    let authority = check(format!("@cert-authority * {new}\n")).unwrap_err();
    assert!(matches!(authority, SignatureError::OnlyAuthority { .. }), "{authority}");
}
