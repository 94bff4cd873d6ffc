//! What runs on a host: its operating system, and how the control plane runs on it.

use serde::{Deserialize, Serialize};

use crate::text::Text;
use crate::words::words;

/// The operating system of a host when its set was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// `ID` and `VERSION_ID` of os-release: `centos 7`.
    pub os: Text,
    /// As `uname -m` prints it: `x86_64`.
    pub architecture: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
}

words! {
    /// How the control plane of a host runs (docs/facts/openshift.md#versions).
    ControlPlane {
        /// systemd services: OpenShift up to 3.9.
        Services = "services",
        /// Static pods of OpenShift 3.10 and 3.11.
        StaticPods = "static-pods",
        /// Static pods of kubeadm.
        Kubeadm = "kubeadm",
    }
}
