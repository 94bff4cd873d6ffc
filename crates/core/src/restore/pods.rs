//! The static pods of a master. A kubelet starts whatever is in its directory, so each manifest is put in place when it is its pod's turn.

use serde::{Deserialize, Serialize};

use crate::api_server::MASTER_CONFIG;
use crate::etcd_config::pod::{Pod, PodContainer};
use crate::etcd_config::yaml;
use crate::manifest::{Item, ItemKind};
use crate::name::HostName;
use crate::restore::evidence::{Evidence, FoundSet};
use crate::restore::finding::Finding;
use crate::system::{ControlPlane, KUBEADM_PODS, OPENSHIFT_PODS};

/// The names of the containers (docs/facts/openshift.md#versions).
const API: [&str; 2] = ["kube-apiserver", "api"];
const CONTROLLERS: [&str; 3] = ["kube-controller-manager", "kube-scheduler", "controllers"];
/// Where the API server listens unless it is configured.
const KUBERNETES_PORT: &str = "6443";
const OPENSHIFT_PORT: &str = "8443";

/// The manifests of a master, apart from etcd's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticPods {
    /// The API server, and pods that are not of the control plane.
    pub api: Pods,
    pub controllers: Pods,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pods {
    /// Absolute paths of their manifests.
    pub manifests: Vec<String>,
    /// Where they accept connections, on the machine itself: `127.0.0.1:6443`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
}

/// Pods that start in the same step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodKind {
    Api,
    Controllers,
}

impl StaticPods {
    pub fn of(&self, kind: PodKind) -> &Pods {
        match kind {
            PodKind::Api => &self.api,
            PodKind::Controllers => &self.controllers,
        }
    }

    pub fn all(&self) -> [&Pods; 2] {
        [&self.api, &self.controllers]
    }

    pub fn has(&self, manifest: &str) -> bool {
        self.all().iter().any(|pods| pods.has(manifest))
    }
}

impl Pods {
    pub fn has(&self, manifest: &str) -> bool {
        self.manifests.iter().any(|path| path == manifest)
    }
}

/// The static pods of a master. `None` if its control plane runs as services.
pub fn plan(evidence: &Evidence<'_>, host: &HostName, findings: &mut Vec<Finding>) -> Option<StaticPods> {
    let mut pods = StaticPods::default();
    let mut has_api = false;
    let sets = evidence.best_of(host);
    for set in &sets {
        for item in set.manifest.items.iter().filter(|item| is_manifest(item)) {
            let path = &item.source;
            let pod =
                set.texts.get(&item.path).and_then(|text| Pod::parse(&String::from_utf8_lossy(text)).ok());
            let is_etcd = pod.as_ref().is_some_and(|pod| pod.etcd().is_some());
            if is_etcd || pods.has(path) {
                continue;
            }
            let container = |names: &[&str]| names.iter().find_map(|name| pod.as_ref()?.container(name));
            if let Some(container) = container(&CONTROLLERS) {
                pods.controllers.manifests.push(path.clone());
                // kubeadm's have no such flag, and other ports in other releases.
                let probed = container.probed_port().map(|port| port.to_string());
                pods.controllers.ports.extend(port(&container, probed.as_deref()));
            } else {
                pods.api.manifests.push(path.clone());
                if let Some(container) = container(&API) {
                    has_api = true;
                    pods.api.ports.extend(api_port(evidence, &sets, &container));
                }
            }
        }
    }
    let control_plane = sets.iter().find_map(|set| set.manifest.system.as_ref()?.control_plane);
    if has_api {
        return Some(pods);
    }
    if let Some(control_plane) = control_plane.filter(|plane| *plane != ControlPlane::Services) {
        findings.push(Finding::refused(format!(
            "{host}: its control plane was {control_plane}, but its sets have no manifest of the API server in {OPENSHIFT_PODS} or {KUBEADM_PODS}; use another night"
        )));
    }
    None
}

/// The kubelet skips hidden files.
fn is_manifest(item: &Item) -> bool {
    let Some((directory, name)) = item.source.rsplit_once('/') else { return false };
    [OPENSHIFT_PODS, KUBEADM_PODS].contains(&directory)
        && !name.starts_with('.')
        && matches!(item.kind, ItemKind::File { .. })
}

fn api_port(evidence: &Evidence<'_>, sets: &[&FoundSet], container: &PodContainer<'_>) -> Option<String> {
    if container.name() == API[0] {
        return port(container, Some(KUBERNETES_PORT));
    }
    let config = sets.iter().find_map(|set| evidence.text(set, MASTER_CONFIG));
    let config: Option<serde_json::Value> = config.and_then(|text| yaml::parse(&text).ok());
    let bind = config.as_ref().and_then(|config| config.pointer("/servingInfo/bindAddress")?.as_str());
    let (address, port) = bind.and_then(|bind| bind.rsplit_once(':')).unwrap_or(("0.0.0.0", OPENSHIFT_PORT));
    Some(local(address, port))
}

/// The port of its flag, else this one.
fn port(container: &PodContainer<'_>, default: Option<&str>) -> Option<String> {
    let port = container.flag("secure-port").or(default).filter(|port| *port != "0")?;
    Some(local(container.flag("bind-address").unwrap_or("0.0.0.0"), port))
}

/// As a client on the machine itself connects.
fn local(address: &str, port: &str) -> String {
    match address {
        "0.0.0.0" | "" | "::" | "[::]" => format!("127.0.0.1:{port}"),
        address => format!("{address}:{port}"),
    }
}
