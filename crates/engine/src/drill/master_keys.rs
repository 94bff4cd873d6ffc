//! The encryption keys in the masters' sets of a night.

use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_etcd::trial::master_keys::of_sets;
use nightshift_etcd::trial::secrets::MasterKeys;
use nightshift_store::Vault;

/// The keys of all masters whose set of this night is in this vault. Blocks.
pub fn of_night(settings: &Settings, vault: &Vault, night: Night) -> MasterKeys {
    let masters = settings.inventory.with_role(Role::Master);
    let best = masters.filter_map(|master| vault.best(&master.name, night, Role::Master));
    let best: Vec<_> = best.filter(|set| set.grade != Grade::Bad).collect();
    let sets = best.iter().map(|set| (vault.directory(&set.manifest.id()), &set.manifest));
    let unknown = || MasterKeys::Unknown(format!("{} has no master set of night {night}", settings.this));
    of_sets(sets).map_or_else(unknown, MasterKeys::Known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use nightshift_core::api_server::{MASTER_CONFIG, POD};
    use nightshift_core::digest::Digest;
    use nightshift_core::fixtures;
    use nightshift_core::manifest::{Item, ItemKind};
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
