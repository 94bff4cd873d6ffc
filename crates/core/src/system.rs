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
    /// How the control plane of a host runs (docs/facts/openshift.md#versions). Their config files are in different directories.
    ControlPlane {
        /// systemd services: OpenShift up to 3.9.
        Services = "services",
        /// Static pods of OpenShift 3.10 and 3.11.
        StaticPods = "static-pods",
        /// Static pods of kubeadm.
        Kubeadm = "kubeadm",
    }
}

/// The directory of OpenShift's configuration, on all hosts but etcd hosts.
pub const OPENSHIFT: &str = "/etc/origin";
/// The directories of static pods: of OpenShift and of kubeadm.
pub const OPENSHIFT_PODS: &str = "/etc/origin/node/pods";
pub const KUBEADM_PODS: &str = "/etc/kubernetes/manifests";

impl ControlPlane {
    /// How it runs on a host with these directories. `None` on a host of neither OpenShift nor kubeadm, such as one for etcd alone.
    pub fn of(has: impl Fn(&str) -> bool) -> Option<Self> {
        if has(OPENSHIFT_PODS) {
            Some(Self::StaticPods)
        } else if has(OPENSHIFT) {
            Some(Self::Services)
        } else {
            has(KUBEADM_PODS).then_some(Self::Kubeadm)
        }
    }
}

/// `ID` and `VERSION_ID` of an os-release file (os-release(5)): `centos 7`. A rolling release has an `ID` alone.
pub fn os_of(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        let mut values =
            os_release.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        // A shell reads it, so the last assignment counts.
        values
            .next_back()
            .map(|value| value.trim_matches(['"', '\'']).trim())
            .filter(|value| !value.is_empty())
    };
    let id = value("ID")?;
    Some(value("VERSION_ID").map_or_else(|| id.to_owned(), |version| format!("{id} {version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operating_system_is_its_id_and_version() {
        let centos = "NAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"\n";
        assert_eq!(os_of(centos).as_deref(), Some("centos 7"));
        assert_eq!(os_of("ID=debian\nVERSION_ID='12'\nID=\"raspbian\"\n").as_deref(), Some("raspbian 12"));
        assert_eq!(os_of("ID=arch\nBUILD_ID=rolling\n").as_deref(), Some("arch"));
        assert_eq!((os_of("ID_LIKE=debian\nID=\n"), os_of("")), (None, None));
    }

    #[test]
    fn openshift_is_recognised_also_where_a_directory_of_kubeadms_name_exists() {
        let of = |directories: &[&str]| ControlPlane::of(|path| directories.contains(&path));
        assert_eq!(of(&[OPENSHIFT, OPENSHIFT_PODS, KUBEADM_PODS]), Some(ControlPlane::StaticPods));
        assert_eq!(of(&[OPENSHIFT, KUBEADM_PODS]), Some(ControlPlane::Services));
        assert_eq!(of(&[KUBEADM_PODS]), Some(ControlPlane::Kubeadm));
        assert_eq!(of(&["/etc/etcd"]), None);
    }
}
