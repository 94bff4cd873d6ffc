use nightshift_ssh::{HostKeyVerdict, KnownHosts, PublicKey};

const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBMXLeJXyW8erkak5HOWAhUynBigd/4tT3y3XcoUgmJC";
const NAMES: [&str; 2] = ["master1.site.test", "10.0.0.1"];

/// A key is trusted only where a line pins it, never beside a line that revokes it, and in no file with an invalid line.
pub fn known_hosts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(known) = KnownHosts::parse(text) else { return };
    let key = PublicKey::from_openssh(&format!("ssh-ed25519 {KEY}")).expect("a key");
    let verdicts = |known: &KnownHosts| [22, 2222].map(|port| known.check(&NAMES, port, &key));

    let pinned = text.lines().any(pins);
    for verdict in verdicts(&known) {
        assert!(pinned || verdict != HostKeyVerdict::Trusted, "trusted without a line that pins it");
    }
    let revoked =
        KnownHosts::parse(&format!("{text}\n@revoked * ssh-ed25519 {KEY}\n")).expect("a valid line more");
    assert_eq!(verdicts(&revoked), [HostKeyVerdict::Revoked, HostKeyVerdict::Revoked]);
    for invalid in ["master1.site.test", "@pinned * ssh-ed25519 AAAA", "* ssh-ed25519 AAAA", "* 1024 35 1"] {
        assert!(KnownHosts::parse(&format!("{text}\n{invalid}\n")).is_err(), "accepted: {invalid}");
    }
}

/// Whether a line may pin the key for one of the names: it is neither a comment nor marked, and contains both.
fn pins(line: &str) -> bool {
    let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
    let hosts = fields.next().unwrap_or_default().to_ascii_lowercase();
    let named = NAMES.iter().any(|name| hosts.contains(name))
        || hosts.contains(['*', '?'])
        || hosts.starts_with("|1|");
    named && !hosts.starts_with(['#', '@']) && fields.nth(1) == Some(KEY)
}
