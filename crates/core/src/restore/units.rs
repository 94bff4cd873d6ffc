//! The units of a control plane of services, by the names that OpenShift's and OKD's installers use (docs/facts/openshift.md#versions).

pub const CONTROLLERS: [&str; 2] = ["atomic-openshift-master-controllers", "origin-master-controllers"];
/// Up to 3.6 a single master has one unit for the API and the controllers; 3.0 has another prefix.
pub const API: [&str; 5] = [
    "atomic-openshift-master-api",
    "origin-master-api",
    "atomic-openshift-master",
    "origin-master",
    "openshift-master",
];
pub const KUBELET: [&str; 4] = ["atomic-openshift-node", "origin-node", "openshift-node", "kubelet"];
pub const ETCD: [&str; 2] = ["etcd", "etcd_container"];
/// A daemon that runs would collect half-restored files, and a cold copy's recovery would start a member.
pub const NIGHTSHIFT: [&str; 2] = ["nightshift", "nightshift-cold-copy-recover"];

/// What these units are, as words: a plan names every unit that a host may have.
pub fn kinds(units: &[String]) -> Vec<&str> {
    let groups: [(&str, &[&str]); 5] = [
        ("controllers", &CONTROLLERS),
        ("API", &API),
        ("kubelet", &KUBELET),
        ("etcd", &ETCD),
        ("nightshift", &NIGHTSHIFT),
    ];
    let mut kinds = Vec::new();
    for unit in units {
        let name = unit.trim_end_matches(".service");
        let kind = groups.iter().find(|(_, names)| names.contains(&name)).map_or(name, |(kind, _)| *kind);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

pub fn names(units: &[&str]) -> Vec<String> {
    units.iter().map(|unit| format!("{unit}.service")).collect()
}
