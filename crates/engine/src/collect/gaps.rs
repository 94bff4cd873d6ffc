//! What a restore needs and no set of this host contains: files that a collected configuration names, and the Ansible inventory,
//! with which hosts are installed again. They are reported by the manifest and by `nightshift check`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nightshift_core::named_paths::{is_provided, of_config, of_pod};
use nightshift_core::read_bounded;
use nightshift_core::role::Role;
use nightshift_core::settings::{FileRule, Settings};
use nightshift_core::system::ControlPlane;
use nightshift_etcd::discover::discover;
use nightshift_store::Vault;
use nightshift_store::safe_open::{Missing, open_file, open_parent};
use rustix::io::Errno;

use super::expand::expand;
use crate::machine;

/// More configurations than any host has, and the maximum size of one in bytes.
const MAX_CONFIGS: usize = 64;
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// How many files are named in a manifest.
const MAX_NAMED: usize = 20;
/// A directory of more entries, or with directories, has data of a program, which has its own backup.
const MAX_ENTRIES: usize = 20;

/// One line for each gap in the set of a role of this host. Blocks: call it offloaded.
pub fn notes(settings: &Settings, vault: &Vault, role: Role) -> Vec<String> {
    let control_plane = machine::control_plane();
    let sources = |role| sources(settings.file_rules(role, control_plane));
    let of_host: BTreeSet<String> = settings.roles().iter().flat_map(sources).collect();
    let own = sources(role);
    let mut notes = Vec::new();
    let mut named = named(&own, &mut notes);
    if role == Role::Etcd
        && let Ok(local) = discover(&settings.etcd, Path::new("/"))
    {
        named.extend(local.files.into_iter().map(|file| ("etcd's configuration".to_owned(), file)));
    }
    let gaps: BTreeMap<PathBuf, String> =
        named.into_iter().filter_map(|(config, path)| Some((gap(&path, &of_host)?, config))).collect();
    // A directory is reported by the files in it, where these are known.
    let is_above = |path: &Path| gaps.keys().any(|other| other != path && other.starts_with(path));
    let mut lines = gaps.iter().filter(|(path, _)| !is_above(path)).map(|(path, config)| {
        let path = path.display();
        format!("{path} is in no set of this host, but {config} names it; add it to a list in [files]")
    });
    notes.extend(lines.by_ref().take(MAX_NAMED));
    let more = lines.count();
    if more > 0 {
        notes.push(format!("{more} more files that configurations name are in no set of this host"));
    }
    if role == Role::Master && control_plane != Some(ControlPlane::Kubeadm) {
        notes.extend(no_inventory(settings, vault, settings.file_rules(role, control_plane)));
    }
    notes
}

/// The paths of this host that the rules name.
fn sources(rules: &[FileRule]) -> BTreeSet<String> {
    let paths = rules.iter().filter_map(|rule| match rule {
        FileRule::Path { path, .. } => Some(path),
        FileRule::Command { .. } => None,
    });
    paths.flat_map(|path| expand(path).found).map(|(source, ())| source).collect()
}

/// The paths that the configurations among these files name, each with the configuration.
fn named(sources: &BTreeSet<String>, notes: &mut Vec<String>) -> Vec<(String, PathBuf)> {
    let configs = sources.iter().filter_map(|source| Some((source, Config::of(Path::new(source))?)));
    let mut named = Vec::new();
    for (source, config) in configs.take(MAX_CONFIGS) {
        let path = Path::new(source);
        let Some(text) = read(path) else { continue };
        let found = match config {
            Config::Yaml => of_config(&text, path.parent().unwrap_or(path)),
            Config::Pod => of_pod(&text),
        };
        match found {
            Ok(paths) => named.extend(paths.into_iter().map(|path| (source.clone(), path))),
            // Its error may quote a secret.
            Err(_) if config == Config::Yaml => {
                notes.push(format!("{source} is invalid YAML, so the files that it names are not checked"));
            }
            // The kubelet does not run it either.
            Err(_) => {}
        }
    }
    named
}

/// A file whose content names other files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Config {
    Yaml,
    /// The manifest of a static pod.
    Pod,
}

impl Config {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        match (path.parent()?.file_name()?.to_str()?, name) {
            (_, "master-config.yaml" | "node-config.yaml") | ("kubelet", "config.yaml") => Some(Self::Yaml),
            ("kubernetes", name) if name.ends_with(".conf") => Some(Self::Yaml),
            ("pods" | "manifests", name) if !name.starts_with('.') => Some(Self::Pod),
            _ => None,
        }
    }
}

fn read(path: &Path) -> Option<String> {
    let file = open_file(&open_parent(path).ok()?, path.file_name()?, path).ok()?;
    let text = read_bounded(file.metadata().ok()?.is_file().then_some(file)?, MAX_CONFIG_BYTES).ok()?;
    String::from_utf8(text).ok()
}

/// The path if there is such a file on this host, or a small directory of files, which is in none of the sets. A set contains a
/// link without the file behind it, so the path is that of the file.
fn gap(path: &Path, of_host: &BTreeSet<String>) -> Option<PathBuf> {
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound => return hidden(path, of_host),
        Err(_) => return None,
    };
    let (text, found) = (real.to_str()?, fs::metadata(&real).ok()?);
    let below = format!("{text}/");
    let has_any_below =
        || of_host.range(below.clone()..).next().is_some_and(|first| first.starts_with(&below));
    let counts = found.is_file() || found.is_dir() && is_small(&real) && !has_any_below();
    let is_gap = counts && !of_host.contains(text) && !is_provided(path) && !is_provided(&real);
    is_gap.then_some(real)
}

/// The path if the sandbox may hide it, unless a drop-in of the unit binds it to another path, below which a set contains it.
fn hidden(path: &Path, of_host: &BTreeSet<String>) -> Option<PathBuf> {
    let text = path.to_str()?;
    let is_hidden = matches!(Missing::of(Errno::NOENT, path), Missing::Hidden);
    (is_hidden && !of_host.iter().any(|source| source.ends_with(text))).then(|| path.to_owned())
}

fn is_small(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    let entries: Vec<_> = entries.flatten().take(MAX_ENTRIES + 1).collect();
    let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    !entries.is_empty() && entries.len() <= MAX_ENTRIES && entries.iter().all(is_file)
}

/// Set if neither this master's set nor the newest set of another one contains the Ansible inventory.
fn no_inventory(settings: &Settings, vault: &Vault, rules: &[FileRule]) -> Option<String> {
    let own = rules.iter().any(|rule| {
        let FileRule::Path { path, alias, .. } = rule else { return false };
        expand(path)
            .found
            .iter()
            .any(|(source, ())| is_inventory(source, alias.as_deref().unwrap_or_default()))
    });
    let in_set_of = |host| {
        let newest = vault.newest_copy(&[host], Role::Master).ok().flatten();
        newest.is_some_and(|set| set.manifest.items.iter().any(|item| is_inventory(&item.source, &item.path)))
    };
    let mut others = settings.inventory.with_role(Role::Master).filter(|host| host.name != settings.this);
    (!own && !others.any(|host| in_set_of(host.name.clone()))).then(|| {
        "no master's set contains the Ansible inventory, with which hosts are installed again; add it to `master` in [files], with \
         `as = \"inventory\"` if it is not /etc/ansible/hosts"
            .to_owned()
    })
}

fn is_inventory(source: &str, path_in_set: &str) -> bool {
    Path::new(source).ends_with("etc/ansible/hosts") || path_in_set.starts_with("inventory")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use nightshift_core::outcome::Grade;

    use super::*;
    use crate::testing;

    /// A host with these files below a directory, whose set contains what `rules` name below it.
    fn host(role: Role, files: &[(&str, &str)], rules: &[&str]) -> (tempfile::TempDir, PathBuf, Settings) {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("root");
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("ROOT", root.to_str().unwrap())).unwrap();
        }
        let hosts = vec![testing::host("m1", role), testing::host("m2", role)];
        let mut settings = testing::settings(dir.path(), hosts);
        let rule = |rule: &&str| FileRule::Path {
            path: root.join(rule).to_str().unwrap().to_owned(),
            alias: None,
            optional: true,
        };
        let lists = nightshift_core::settings::FileLists {
            services: rules.iter().map(rule).collect(),
            ..Default::default()
        };
        settings.files = [(role, lists)].into();
        (dir, root, settings)
    }

    fn master(files: &[(&str, &str)], rules: &[&str]) -> (tempfile::TempDir, PathBuf, Settings) {
        host(Role::Master, files, rules)
    }

    fn notes_of(settings: &Settings) -> Vec<String> {
        notes(settings, &Vault::of(settings), Role::Master)
    }

    #[test]
    fn a_file_that_a_collected_configuration_names_and_no_set_contains_is_reported() {
        let config = "oauthConfig:\n  file: ROOT/srv/htpasswd\nservingInfo:\n  certFile: master.crt\n  \
            keyFile: ROOT/etc/origin/master/absent.key\n  clientCA: linked.crt\n";
        let pod = "spec:\n  containers:\n  - name: api\n    command: [api, --encryption-provider-config=/enc/key.yaml]\n    \
            volumeMounts: [{name: enc, mountPath: /enc}]\n  volumes:\n  - {name: enc, hostPath: {path: ROOT/srv/enc}}\n  \
            - {name: data, hostPath: {path: ROOT/srv/data}}\n";
        let files = [
            ("etc/ansible/hosts", "[masters]\n"),
            ("etc/origin/master/master-config.yaml", config),
            ("etc/origin/master/master.crt", "collected"),
            ("etc/origin/node/pods/api.yaml", pod),
            ("srv/htpasswd", "alice:x"),
            ("srv/ca.crt", "behind a link"),
            ("srv/enc/key.yaml", "kind: EncryptionConfiguration\n"),
            ("srv/data/member/db", "data of a program"),
        ];
        let (_dir, root, settings) = master(&files, &["etc/"]);
        symlink(root.join("srv/ca.crt"), root.join("etc/origin/master/linked.crt")).unwrap();
        let notes = notes_of(&settings);
        let expected = [
            ("srv/ca.crt", "etc/origin/master/master-config.yaml"),
            ("srv/enc/key.yaml", "etc/origin/node/pods/api.yaml"),
            ("srv/htpasswd", "etc/origin/master/master-config.yaml"),
        ];
        let expected = expected.map(|(path, config)| {
            let (path, config) = (root.join(path), root.join(config));
            format!(
                "{} is in no set of this host, but {} names it; add it to a list in [files]",
                path.display(),
                config.display()
            )
        });
        assert_eq!(notes, expected);
    }

    #[test]
    fn a_named_file_that_the_sandbox_may_hide_is_reported_unless_a_set_has_it_by_another_path() {
        let config = "a: /root/there-is-no-such-file\nb: /etc/there-is-no-such-file\n";
        let files = [("etc/ansible/hosts", ""), ("etc/origin/master/master-config.yaml", config)];
        let (_dir, root, settings) = master(&files, &["etc/", "run/"]);
        let notes = notes_of(&settings);
        assert!(
            notes.len() == 1 && notes[0].starts_with("/root/there-is-no-such-file is in no set"),
            "{notes:?}"
        );
        fs::create_dir_all(root.join("run/root")).unwrap();
        fs::write(root.join("run/root/there-is-no-such-file"), "bound").unwrap();
        assert_eq!(notes_of(&settings), [""; 0]);
    }

    #[test]
    fn a_configuration_that_is_not_yaml_is_reported_without_its_text() {
        let files =
            [("etc/ansible/hosts", ""), ("etc/origin/master/master-config.yaml", "password: [hunter2")];
        let (_dir, _, settings) = master(&files, &["etc/"]);
        let notes = notes_of(&settings);
        assert!(
            notes.len() == 1 && notes[0].contains("invalid YAML") && !notes[0].contains("hunter2"),
            "{notes:?}"
        );
    }

    #[test]
    fn a_cluster_without_a_collected_inventory_is_reported() {
        let files = [("etc/ansible/hosts", "[masters]\n"), ("srv/site.ini", "[masters]\n")];
        let (_dir, root, mut settings) = master(&files, &["etc/origin/"]);
        let notes = notes_of(&settings);
        assert!(notes.len() == 1 && notes[0].contains("Ansible inventory"), "{notes:?}");
        let rules = &mut settings.files.get_mut(&Role::Master).unwrap().services;
        rules.push(FileRule::Path {
            path: root.join("srv/site.ini").to_str().unwrap().to_owned(),
            alias: Some("inventory".to_owned()),
            optional: true,
        });
        assert_eq!(notes_of(&settings), [""; 0]);
    }

    #[test]
    fn an_inventory_in_another_masters_set_is_enough() {
        let (_dir, _, settings) = master(&[("etc/origin/a", "")], &["etc/origin/"]);
        let vault = Vault::of(&settings);
        let set = "m2/2026-11-22/master".parse().unwrap();
        let partial = vault.begin(&set).unwrap();
        let written = partial.write("hosts", b"[masters]\n").unwrap();
        let item = serde_json::from_value(serde_json::json!({
            "path": "hosts", "source": "/etc/ansible/hosts", "kind": "file", "size": written.size,
            "sha256": written.sha256, "owner": { "uid": 0, "gid": 0 }, "mode": "0644",
            "modified": "2026-11-22T21:00:05Z"
        }));
        let mut manifest = nightshift_core::fixtures::manifest(&set, Grade::Good, vec![item.unwrap()]);
        manifest.cluster = settings.cluster.clone();
        assert_eq!(notes_of(&settings).len(), 1);
        partial.publish(&manifest.encode().unwrap(), None).unwrap();
        assert_eq!(notes_of(&settings), [""; 0]);
    }

    #[test]
    fn certificates_of_etcd_that_its_set_does_not_contain_are_reported() {
        let conf =
            "ETCD_NAME=e1\nETCD_CERT_FILE=ROOT/srv/server.crt\nETCD_PEER_CERT_FILE=ROOT/etc/etcd/peer.crt\n";
        let files = [
            ("etc/etcd/etcd.conf", conf),
            ("etc/etcd/peer.crt", "collected"),
            ("srv/server.crt", "elsewhere"),
        ];
        let (_dir, root, mut settings) = host(Role::Etcd, &files, &["etc/etcd/"]);
        settings.etcd.conf = root.join("etc/etcd/etcd.conf");
        let notes = notes(&settings, &Vault::of(&settings), Role::Etcd);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("srv/server.crt is in no set of this host, but etcd's configuration"));
    }
}
