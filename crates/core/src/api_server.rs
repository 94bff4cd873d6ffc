//! Where the API server reads the keys with which it encrypts values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::etcd_config::pod::Pod;
use crate::etcd_config::yaml;

/// The API server's static pod on a kubeadm master, and the configuration of a master of OpenShift 3.
pub const POD: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
pub const MASTER_CONFIG: &str = "/etc/origin/master/master-config.yaml";
/// The option's name, and the one up to Kubernetes 1.12 and OpenShift 3.11.
const OPTIONS: [&str; 2] = ["encryption-provider-config", "experimental-encryption-provider-config"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MasterConfig {
    #[serde(default)]
    kubernetes_master_config: Option<KubernetesMasterConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubernetesMasterConfig {
    #[serde(default)]
    api_server_arguments: Option<BTreeMap<String, Values>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Other(IgnoredAny),
}

/// The host's path of the encryption configuration that a static pod's manifest names. A manifest that cannot be parsed
/// names none.
pub fn named_by_pod(manifest: &str) -> Option<PathBuf> {
    let pod = Pod::parse(manifest).ok()?;
    let container = pod.container("kube-apiserver")?;
    let option = OPTIONS.iter().find_map(|option| container.flag(option))?;
    Some(container.on_host(option.as_ref()))
}

/// The path of the encryption configuration that `master-config.yaml` names.
pub fn named_by_master_config(text: &str) -> Option<PathBuf> {
    let config: MasterConfig = yaml::parse(text).ok()?;
    let arguments = config.kubernetes_master_config?.api_server_arguments?;
    OPTIONS.iter().find_map(|option| match arguments.get(*option)? {
        Values::List(values) => values.first().map(PathBuf::from),
        Values::Other(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "
apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    - --advertise-address=10.0.0.1
    - --encryption-provider-config=/enc/keys.yaml
    name: kube-apiserver
    volumeMounts:
    - { mountPath: /enc, name: enc, readOnly: true }
  volumes:
  - { name: enc, hostPath: { path: /etc/kubernetes/enc, type: Directory } }
";

    #[test]
    fn the_path_in_a_pod_is_that_on_the_host() {
        assert_eq!(named_by_pod(MANIFEST), Some("/etc/kubernetes/enc/keys.yaml".into()));
        let unmounted = MANIFEST.replace("mountPath: /enc,", "mountPath: /other,");
        assert_eq!(named_by_pod(&unmounted), Some("/enc/keys.yaml".into()));
        let two_words = MANIFEST.replace("provider-config=/enc", "provider-config\n    - /enc");
        assert_eq!(named_by_pod(&two_words), Some("/etc/kubernetes/enc/keys.yaml".into()));
        assert_eq!(named_by_pod(&MANIFEST.replace("--encryption-provider-config", "--other")), None);
        assert_eq!(named_by_pod("{"), None);
    }

    #[test]
    fn the_path_in_a_master_config_is_found_by_its_old_and_its_new_option() {
        for option in OPTIONS {
            let text = format!(
                "apiVersion: v1\nkubernetesMasterConfig:\n  apiServerArguments:\n    runtime-config: [a=b]\n    {option}:\n    - /etc/origin/master/enc.yaml\n"
            );
            assert_eq!(named_by_master_config(&text), Some("/etc/origin/master/enc.yaml".into()));
        }
        for text in [
            "kind: MasterConfig\n",
            "kubernetesMasterConfig: null\n",
            "kubernetesMasterConfig: { apiServerArguments: null }\n",
            "[",
        ] {
            assert_eq!(named_by_master_config(text), None, "{text}");
        }
    }
}
