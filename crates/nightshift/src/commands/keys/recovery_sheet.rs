//! `nightshift keys recovery-sheet`: one page to print, without secrets, for a restore after the loss of every host.

use std::fmt::Write as _;

use jiff::Timestamp;
use nightshift_config::url_of;
use nightshift_core::address::bracketed;
use nightshift_core::settings::{Compression, Remote, Settings};
use nightshift_core::shell::quote;
use nightshift_core::text::first_of;
use nightshift_core::units::local_time;
use nightshift_core::{kit, role::Role};
use nightshift_peers::remote_endpoint;
use nightshift_ssh::{KnownHosts, KnownHostsError, PublicKey, Signer};

use crate::commands::CommandError;
use crate::exit::Exit;
use crate::out;

const LINE: &str = "______________________________";
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn print(settings: &Settings) -> Result<Exit, CommandError> {
    if !settings.roles().has(Role::Master) {
        return Err(CommandError::Usage(format!(
            "{} is not a master and makes no archives; print the recovery sheet of each master",
            settings.this
        )));
    }
    let signer = Signer::from_host_key(&settings.ssh.host_key)?.fingerprint();
    let known = match KnownHosts::load(&settings.ssh.known_hosts) {
        Err(KnownHostsError::Missing { .. }) => KnownHosts::default(),
        known => known?,
    };
    out::print_text(&page(settings, &signer, &known, Timestamp::now()));
    let is_unpinned = |remote: &&Remote| pinned(&known, remote).is_empty();
    let unpinned: Vec<&str> =
        settings.remotes.iter().filter(is_unpinned).map(|remote| remote.name.as_str()).collect();
    if unpinned.is_empty() {
        return Ok(Exit::Good);
    }
    out::print_error(&format!(
        "no host key is pinned for: {}; run `nightshift trust {}`, and print the sheet again",
        first_of(&unpinned, ", "),
        unpinned.join(" ")
    ));
    Ok(Exit::Degraded)
}

fn pinned(known: &KnownHosts, remote: &Remote) -> Vec<(String, String)> {
    let at = remote_endpoint(remote);
    known.pinned(&at.known_as, at.port)
}

fn page(settings: &Settings, signer: &str, known: &KnownHosts, now: Timestamp) -> String {
    let mut page = String::new();
    let Settings { cluster, this, inventory, archive, .. } = settings;
    let _ = writeln!(
        page,
        "RECOVERY SHEET of cluster {cluster}, by {this}, {}",
        local_time(now, &settings.window.zone)
    );
    let _ = writeln!(page, "nightshift {VERSION}. No secrets are on this page.\n");
    for role in [Role::Master, Role::Etcd, Role::Node] {
        let hosts: Vec<&str> = inventory.with_role(role).map(|host| host.name.as_str()).collect();
        if !hosts.is_empty() {
            let _ = writeln!(page, "{:<8}{}", format!("{role}:"), first_of(&hosts, ", "));
        }
    }
    page.push_str("\nREMOTES, and the fingerprints of their SSH host keys\n");
    for remote in &settings.remotes {
        let _ = writeln!(page, "  {}: {}", remote.name, url_of(remote));
        let keys = pinned(known, remote);
        for (kind, key) in &keys {
            let _ = writeln!(page, "    {kind} {}", fingerprint(kind, key));
        }
        if keys.is_empty() {
            page.push_str("    no host key is pinned\n");
        }
        let _ = writeln!(page, "    who can log in there: {LINE}");
    }
    let _ = writeln!(page, "\nSIGNER of the archives, the SSH host key of {this}\n  {signer}");
    page.push_str("\nAGE KEYS that open the archives: one of them is enough\n");
    for recipient in &archive.recipients {
        let _ = writeln!(page, "  {recipient}\n    who keeps the private key, and where: {LINE}");
    }
    if archive.recipients.is_empty() {
        page.push_str("  none: the archives are not encrypted\n");
    }
    page.push_str("\nTO RESTORE, on a machine that only you use, with nightshift's package\n");
    page.push_str(&commands(settings, signer));
    page
}

/// Of a pinned key, as ssh-keygen prints it.
fn fingerprint(kind: &str, key: &str) -> String {
    let key = PublicKey::from_openssh(&format!("{kind} {key}"));
    key.map_or_else(|_| "unknown".to_owned(), |key| key.fingerprint(Default::default()).to_string())
}

fn commands(settings: &Settings, signer: &str) -> String {
    let Settings { this, archive, remotes, .. } = settings;
    let zstd = archive.compression == Compression::Zstd;
    let encrypted = !archive.recipients.is_empty();
    let ending = format!("{}{}", if zstd { ".tar.zst" } else { ".tgz" }, if encrypted { ".age" } else { "" });
    let newest = format!("{this}_YYYY.MM.DD{ending}");
    let mut text = String::new();
    if let Some(remote) = remotes.first() {
        let kit = kit::top_directory(VERSION, this);
        let at = |name: &str| {
            quote(&format!("{}@{}:{}*", remote.user, bracketed(&remote.address), remote.file(name)))
        };
        let _ = writeln!(text, "  scp -P {} {} {} .", remote.port, at(&newest), at(&kit));
    }
    let identity = if encrypted { " --identity key.txt" } else { "" };
    let _ = writeln!(text, "  nightshift restore plan --from {newest}{identity} --signer {signer}");
    text.push_str("Without the package: RESTORE.txt in the kit, and in each archive, has the commands of ssh, age, tar and etcdutl.\n");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::fixtures;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBMXLeJXyW8erkak5HOWAhUynBigd/4tT3y3XcoUgmJC";

    #[test]
    fn the_sheet_names_everything_but_secrets_and_fits_on_a_page() {
        let hosts = vec![fixtures::host("m1", Role::Master), fixtures::host("e1", Role::Etcd)];
        let mut settings = fixtures::settings("/x".as_ref(), hosts, Timestamp::UNIX_EPOCH);
        settings.archive.recipients = vec!["age1first".into(), "age1second".into()];
        settings.remotes = vec![
            fixtures::remote("backup", "b.example.com", 2222, "/in/"),
            fixtures::remote("second", "fd00::1", 22, "own/it's"),
        ];
        let known = KnownHosts::parse(&format!("[b.example.com]:2222 {KEY}\n")).unwrap();
        let page = page(&settings, "SHA256:signer", &known, Timestamp::UNIX_EPOCH);
        for part in [
            "cluster prod, by m1",
            "backup: sftp://vault@b.example.com:2222/in/",
            "    ssh-ed25519 SHA256:",
            "second: sftp://vault@[fd00::1]:22/~/own/it%27s\n    no host key is pinned",
            "SHA256:signer",
            "age1first\n    who keeps the private key, and where: ___",
            "age1second",
            "scp -P 2222 'vault@b.example.com:/in/m1_YYYY.MM.DD.tgz.age*'",
            "nightshift restore plan --from m1_YYYY.MM.DD.tgz.age --identity key.txt --signer SHA256:signer",
        ] {
            assert!(page.contains(part), "{part} is not in:\n{page}");
        }
        settings.remotes.remove(0);
        let commands = commands(&settings, "SHA256:signer");
        assert!(commands.contains(r"'vault@[fd00::1]:own/it'\''s/m1_YYYY.MM.DD.tgz.age*'"), "{commands}");
        assert!(!page.contains("/secret/identity") && page.lines().count() < 60, "{page}");
    }
}
