//! The public host keys that this master has pinned, for `archive.json` and `allowed_signers`.

use nightshift_archive::HostKey;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::settings::Settings;
use nightshift_core::{archive, chain, manifest, proof};
use nightshift_peers::{endpoint, remote_endpoint};
use nightshift_ssh::{Endpoint, KnownHosts, KnownHostsError, Signer};

use crate::context::StageContext;

/// Those of all hosts and remotes.
pub fn pinned(ctx: &StageContext) -> Vec<HostKey> {
    keys(&ctx.settings, &known(ctx))
}

/// The hosts whose keys may sign, one line each, as `ssh-keygen -Y verify` reads them. A remote signs nothing.
pub fn allowed_signers(ctx: &StageContext) -> String {
    let settings = Settings { remotes: Vec::new(), ..(*ctx.settings).clone() };
    let namespaces = [archive::NAMESPACE, manifest::NAMESPACE, proof::NAMESPACE].join(",");
    let line = |HostKey { names, kind, key, .. }: HostKey| {
        format!("{} namespaces=\"{namespaces}\" {kind} {key}\n", names.join(","))
    };
    keys(&settings, &known(ctx)).into_iter().map(line).collect()
}

/// Without them the archive is as complete as with them, so an unreadable file is only reported.
fn known(ctx: &StageContext) -> KnownHosts {
    match KnownHosts::load(&ctx.settings.ssh.known_hosts) {
        Ok(known) => known,
        // A host that knows no other one has none.
        Err(KnownHostsError::Missing { .. }) => KnownHosts::default(),
        Err(error) => {
            let what = "the archive does not contain the pinned host keys";
            ctx.log(Event::degraded(Kind::OperationFailed, what, chain(&error)));
            KnownHosts::default()
        }
    }
}

fn keys(settings: &Settings, known: &KnownHosts) -> Vec<HostKey> {
    let own = settings.inventory.get(&settings.this).zip(own_key(settings));
    let own = own.map(|(host, (kind, key))| host_key(&endpoint(host), kind, key));
    let endpoints =
        settings.inventory.hosts().map(endpoint).chain(settings.remotes.iter().map(remote_endpoint));
    let mut keys: Vec<HostKey> = endpoints
        .flat_map(|at| {
            let pinned = known.pinned(&at.known_as, at.port);
            pinned.into_iter().map(move |(kind, key)| host_key(&at, kind, key))
        })
        .collect();
    // No master needs a pin of itself, but its own signatures are in the archive too.
    keys.extend(own.filter(|own| !keys.contains(own)));
    keys
}

fn host_key(at: &Endpoint, kind: String, key: String) -> HostKey {
    HostKey { names: at.known_as.clone(), port: at.port, kind, key }
}

/// Type and base64 of the key that signs on this host.
fn own_key(settings: &Settings) -> Option<(String, String)> {
    let line = Signer::from_host_key(&settings.ssh.host_key).ok()?.public_line();
    let (kind, key) = line.split_once(' ')?;
    Some((kind.to_owned(), key.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::role::Role;

    use super::*;
    use crate::testing;

    #[test]
    fn the_own_key_is_included_although_no_host_pins_itself() {
        const PINNED: &str =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBMXLeJXyW8erkak5HOWAhUynBigd/4tT3y3XcoUgmJC";
        let dir = tempfile::tempdir().unwrap();
        let hosts = vec![testing::host("m1", Role::Master), testing::host("n1", Role::Node)];
        let settings = testing::settings(dir.path(), hosts);
        kit::sshd::make_key(&settings.ssh.host_key, &[]).unwrap();
        let own = kit::sshd::public_key(&settings.ssh.host_key.with_extension("pub")).unwrap();
        let known = KnownHosts::parse(&format!("n1 {PINNED}\nstranger {own}\n")).unwrap();
        let lines = |known| {
            let keys = keys(&settings, known).into_iter();
            keys.map(|key| format!("{} {} {}", key.names[0], key.kind, key.key)).collect::<Vec<_>>()
        };
        let expected = [format!("n1 {PINNED}"), format!("m1 {own}")];
        assert_eq!(lines(&known), expected);
        let known = KnownHosts::parse(&format!("n1 {PINNED}\nm1 {own}\n")).unwrap();
        assert_eq!(lines(&known).len(), 2, "a key that is pinned is listed once");
    }
}
