//! The files of a host that its configuration names. One of them that is in no set would be missing after a restore.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::etcd_config::pod::Pod;
use crate::etcd_config::yaml;

/// More paths than any configuration names.
const MAX_PATHS: usize = 1_000;
/// In bytes (PATH_MAX).
const MAX_LEN: usize = 4096;

/// What packages and the kernel provide, what the network's configuration writes, and logs: no restore needs them.
const PROVIDED: [&str; 19] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/log",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/resolv.conf",
];

/// Those that a configuration in YAML may name: each text of it that can be a path. A relative one is relative to the directory of
/// the configuration. Which of them are files, only the host knows.
pub fn of_config(text: &str, directory: &Path) -> Result<BTreeSet<PathBuf>, serde_saphyr::Error> {
    let config: Value = yaml::parse(text)?;
    let (mut open, mut found) = (vec![&config], BTreeSet::new());
    while let Some(value) = open.pop().filter(|_| found.len() < MAX_PATHS) {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(values) => open.extend(values.values()),
            Value::String(text) => found.extend(path(text, directory)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    Ok(found)
}

/// Those that the manifest of a static pod names: in the flags of its containers, and as volumes.
pub fn of_pod(text: &str) -> Result<BTreeSet<PathBuf>, serde_saphyr::Error> {
    let paths = Pod::parse(text)?.host_paths();
    Ok(paths.into_iter().filter_map(|path| normal(&path)).take(MAX_PATHS).collect())
}

/// Whether a restored host has it from elsewhere than from a set.
pub fn is_provided(path: &Path) -> bool {
    PROVIDED.iter().any(|provided| path.starts_with(provided))
        || path.extension().is_some_and(|extension| extension == "log")
}

fn path(text: &str, directory: &Path) -> Option<PathBuf> {
    // A URL, an image, an address or a sentence is not a path of a file.
    let is_path =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | '*' | '{' | '}' | '=');
    (!text.is_empty() && text.len() <= MAX_LEN && text.chars().all(is_path))
        .then(|| normal(&directory.join(text)))
        .flatten()
}

/// The path without `.` and `..`, if it is an absolute one of something below the root.
pub(crate) fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    (path.is_absolute() && normal.parent().is_some()).then_some(normal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(paths: &BTreeSet<PathBuf>) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn every_text_of_a_configuration_that_can_be_a_path_is_named() {
        let config = "kind: MasterConfig\nkubernetesMasterConfig:\n  apiServerArguments:\n    \
            encryption-provider-config: [/etc/origin/master/../encryption.yaml]\noauthConfig:\n  identityProviders:\n  - provider:\n      \
            file: /etc/origin/htpasswd\n      url: https://ldap.example.com/ou\nservingInfo:\n  bindAddress: 0.0.0.0:8443\n  \
            certFile: certs/master.crt\n  count: 3\n  text: two words\n  root: /\n";
        let found = of_config(config, Path::new("/etc/origin/master")).unwrap();
        assert_eq!(
            shown(&found),
            [
                "/etc/origin/encryption.yaml",
                "/etc/origin/htpasswd",
                "/etc/origin/master/MasterConfig",
                "/etc/origin/master/certs/master.crt",
            ]
        );
        assert!(of_config("a: [", Path::new("/")).is_err());
    }

    #[test]
    fn a_pods_flags_and_volumes_are_named_by_their_paths_on_the_host() {
        let pod = "spec:\n  containers:\n  - name: kube-apiserver\n    command:\n    - kube-apiserver\n    \
            - --encryption-provider-config=/enc/key.yaml\n    - --audit-policy-file\n    - /etc/kubernetes/audit.yaml\n    - --v=2\n    \
            volumeMounts:\n    - {name: enc, mountPath: /enc}\n  volumes:\n  - {name: enc, hostPath: {path: /srv/enc/}}\n  \
            - {name: config, hostPath: {path: /etc/kubernetes/extra.conf, type: File}}\n  - {name: none, emptyDir: {}}\n";
        let found = of_pod(pod).unwrap();
        assert_eq!(
            shown(&found),
            ["/etc/kubernetes/audit.yaml", "/etc/kubernetes/extra.conf", "/srv/enc", "/srv/enc/key.yaml"]
        );
    }

    #[test]
    fn programs_logs_and_the_trust_store_of_the_system_are_provided() {
        for path in [
            "/usr/bin/openshift",
            "/var/log/audit/audit.json",
            "/var/lib/origin/audit.log",
            "/etc/ssl/certs/ca.pem",
        ] {
            assert!(is_provided(Path::new(path)), "{path}");
        }
        for path in ["/etc/origin/htpasswd", "/usr/local/etc/htpasswd", "/libexec.yaml", "/srv/enc/key.yaml"]
        {
            assert!(!is_provided(Path::new(path)), "{path}");
        }
    }
}
