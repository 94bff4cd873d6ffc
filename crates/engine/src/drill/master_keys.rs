//! The encryption keys in the masters' sets of a night.

use std::path::Path;

use nightshift_core::api_server::{MASTER_CONFIG, POD, named_by_master_config, named_by_pod};
use nightshift_core::manifest::{Item, ItemKind, Manifest};
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_snapshot::{Keyring, is_configuration};
use nightshift_store::{Vault, read_below};

const EXTENSIONS: [&str; 4] = [".yaml", ".yml", ".json", ".conf"];
/// The maximum size of such a file in bytes.
const MAX_BYTES: u64 = 256 << 10;
/// The maximum number of files of one set that are read in a search.
const MAX_FILES: usize = 500;

/// The keys of all masters whose set of this night is in this vault. Blocks.
pub fn of_night(settings: &Settings, vault: &Vault, night: Night) -> MasterKeys {
    let mut keyring = Keyring::default();
    let mut found = false;
    for master in settings.inventory.with_role(Role::Master) {
        let best = vault.best(&master.name, night, Role::Master);
        if let Some(judged) = best.filter(|set| set.grade != Grade::Bad) {
            found = true;
            let directory = vault.directory(&judged.manifest.id());
            of_set(&directory, &judged.manifest, &mut keyring);
        }
    }
    if found {
        MasterKeys::Known(keyring)
    } else {
        MasterKeys::Unknown(format!("{} has no master set of night {night}", settings.this))
    }
}

/// Adds the keys of a master's set in `directory`: those in the configuration that the API server's own configuration names, else those in any file that is one.
pub fn of_set(directory: &Path, manifest: &Manifest, keyring: &mut Keyring) {
    let text = |item: &Item| {
        let bytes = read_below(directory, &item.path, MAX_BYTES).inspect_err(|error| {
            tracing::warn!("cannot read {}: {}", item.path, nightshift_core::chain(error));
        });
        bytes.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    // A path counts as well below another directory: a drop-in may have bound the host's files there.
    let item = |path: &Path| {
        let relative = path.strip_prefix("/").unwrap_or(path);
        manifest.items.iter().find(|item| Path::new(&item.source).ends_with(relative))
    };
    let file = |path: &Path| match item(path)? {
        Item { kind: ItemKind::Symlink { target }, source, .. } => {
            let directory = Path::new(source).parent().unwrap_or(Path::new("/"));
            item(&directory.join(target)).filter(|item| item.size().is_some())
        }
        item => item.size().is_some().then_some(item),
    };
    let named = [(POD, named_by_pod as fn(&str) -> _), (MASTER_CONFIG, named_by_master_config)];
    let named = named.into_iter().filter_map(|(source, named_by)| {
        let path = named_by(&text(file(Path::new(source))?)?)?;
        file(&path)
    });
    let mut configurations: Vec<(&Item, String)> =
        named.filter_map(|item| Some((item, text(item)?))).collect();
    if configurations.is_empty() {
        let may_be_one = |item: &&Item| {
            EXTENSIONS.iter().any(|extension| item.source.ends_with(extension))
                && item.size().is_some_and(|size| size <= MAX_BYTES)
        };
        let files = manifest.files().map(|(item, ..)| item).filter(may_be_one).take(MAX_FILES);
        configurations.extend(files.filter_map(|item| Some((item, text(item)?))));
        configurations.retain(|(_, text)| is_configuration(text));
    }
    for (item, text) in configurations {
        match Keyring::parse(&text) {
            Ok(keys) => keyring.extend(keys),
            // The message has no part of the file but the names of keys.
            Err(error) => tracing::warn!("{}: cannot use {}: {error}", manifest.id(), item.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use nightshift_core::digest::Digest;
    use nightshift_core::fixtures;
    use nightshift_core::set_path::SetId;
    use nightshift_snapshot::Cipher;

    const POD_TEXT: &str = "spec:
  containers:
  - name: kube-apiserver
    command: [kube-apiserver, --encryption-provider-config=/enc/keys.yaml]
    volumeMounts: [{ mountPath: /enc, name: enc }]
  volumes: [{ name: enc, hostPath: { path: /etc/kubernetes/enc } }]
";

    fn configuration(name: &str) -> String {
        format!(
            "kind: EncryptionConfiguration\nresources: [{{ providers: [{{ aescbc: {{ keys: [{{ name: {name}, secret: AQIDBAUGBwgJCgsMDQ4PEA== }}] }} }}] }}]\n"
        )
    }

    /// A vault with a set of a master that contains these files.
    fn publish(vault: &Vault, host: &str, files: &[(&str, &str)]) {
        let set: SetId = format!("{host}/2026-11-22/master").parse().unwrap();
        let partial = vault.begin(&set).unwrap();
        let mut items = Vec::new();
        for (source, content) in files {
            let path = source.trim_start_matches('/').to_owned();
            let kind = match content.strip_prefix("link to ") {
                Some(target) => ItemKind::Symlink { target: target.to_owned() },
                None => {
                    let mut file = partial.create(&path).unwrap();
                    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
                    ItemKind::File { size: content.len() as u64, sha256: Digest::of(content.as_bytes()) }
                }
            };
            let template = fixtures::etcd_manifest(&set, Grade::Good, fixtures::etcd_facts()).items.remove(0);
            items.push(Item { path, source: (*source).to_owned(), kind, ..template });
        }
        let manifest = fixtures::manifest(&set, Grade::Good, items).encode().unwrap();
        partial.publish(&manifest, None).unwrap();
    }

    #[test]
    fn the_keys_of_all_masters_are_found_by_their_own_configuration_or_else_by_a_search() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = ["m1", "m2", "m3", "m4"].map(|name| testing::host(name, Role::Master));
        let settings = testing::settings(dir.path(), hosts.into());
        let vault = Vault::of(&settings);
        let night: Night = "2026-11-22".parse().unwrap();
        let none = of_night(&settings, &vault, night);
        assert!(
            matches!(none, MasterKeys::Unknown(reason) if reason.contains("no master set of night 2026-11-22"))
        );

        publish(
            &vault,
            "m1",
            &[
                (POD, POD_TEXT),
                ("/etc/kubernetes/enc/keys.yaml", &configuration("named")),
                ("/etc/kubernetes/old.yaml", &configuration("elsewhere")),
            ],
        );
        publish(
            &vault,
            "m2",
            &[
                (
                    MASTER_CONFIG,
                    "kubernetesMasterConfig:\n  apiServerArguments:\n    experimental-encryption-provider-config: [/etc/origin/enc.yaml]\n",
                ),
                ("/etc/origin/enc.yaml", &configuration("openshift")),
            ],
        );
        publish(
            &vault,
            "m3",
            &[
                (POD, POD_TEXT),
                ("/host/etc/kubernetes/a/found.yaml", &configuration("found")),
                ("/host/etc/kubernetes/unusable.yaml", "kind: EncryptionConfig\nresources: 5\n"),
                ("/etc/elsewhere/other.yaml", &configuration("other")),
            ],
        );
        // Of several files of keys, that to which the configured path leads.
        publish(
            &vault,
            "m4",
            &[
                (POD, POD_TEXT),
                ("/etc/kubernetes/enc/keys.yaml", "link to current.yaml"),
                ("/etc/kubernetes/enc/current.yaml", &configuration("linked")),
                ("/etc/kubernetes/enc/before.yaml", &configuration("rotated")),
            ],
        );
        let MasterKeys::Known(keyring) = of_night(&settings, &vault, night) else { panic!("not found") };
        let there = ["named", "openshift", "found", "other", "linked"].map(|name| (name, true));
        let absent = ["elsewhere", "rotated"].map(|name| (name, false));
        for (name, there) in there.into_iter().chain(absent) {
            assert_eq!(keyring.names(Cipher::AesCbc, name), there, "{name}");
        }
    }
}
