//! The certificates that a machine's configuration names, with what the same configuration names beside each of them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{MachineFiles, Place};
use super::kubeconfig;
use crate::api_server::{MASTER_CONFIG, POD};
use crate::etcd_config::Options;
use crate::etcd_config::pod::Pod;
use crate::etcd_config::yaml;
use crate::named_paths::normal;
use crate::restore::etcd::{Configured, configured};
use crate::restore::evidence::Evidence;
use crate::role::Role;
use crate::system::KUBEADM_PODS;

const NODE_CONFIG: &str = "/etc/origin/node/node-config.yaml";
const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// Flags with a certificate and its key; the first pair is what a server shows its clients.
const PAIRS: [[&str; 2]; 5] = [
    ["tls-cert-file", "tls-private-key-file"],
    ["etcd-certfile", "etcd-keyfile"],
    ["kubelet-client-certificate", "kubelet-client-key"],
    ["proxy-client-cert-file", "proxy-client-key-file"],
    ["cluster-signing-cert-file", "cluster-signing-key-file"],
];
const AUTHORITIES: [&str; 5] = [
    "client-ca-file",
    "etcd-cafile",
    "requestheader-client-ca-file",
    "kubelet-certificate-authority",
    "root-ca-file",
];
const KUBECONFIGS: [&str; 3] = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"];
/// The same in OpenShift's own configuration.
const OPENSHIFT_AUTHORITIES: [&str; 3] = ["ca", "clientCA", "masterCA"];
/// Certificates that other authorities sign, for the names of a load balancer.
const PUBLIC: &str = "namedCertificates";

/// The names for which a certificate must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needed {
    /// A client's, or one of another authority.
    Nothing,
    /// Each of them: clients connect to all of etcd's URLs.
    All(Vec<String>),
    /// One of the names of the machine.
    One(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Without it no cluster is restored.
    ControlPlane,
    /// Without it one machine has no pods.
    Kubelet,
}

#[derive(Debug, Clone)]
pub struct Named {
    pub certificate: Place,
    pub key: Option<Place>,
    /// Those of the same configuration. Without any, the authority is not checked.
    pub authorities: Vec<Place>,
    pub needed: Needed,
    pub part: Part,
}

/// The certificates of a machine. `own` are its names and addresses.
pub fn of_machine(
    evidence: &Evidence<'_>,
    files: &MachineFiles<'_>,
    own: &[String],
) -> (Vec<Named>, Vec<Place>) {
    let mut found = Vec::new();
    if let Some(set) = files.0.iter().find(|set| set.manifest.role == Role::Etcd) {
        found.push(etcd(&configured(evidence, set)));
    }
    for (path, part) in [(MASTER_CONFIG, Part::ControlPlane), (NODE_CONFIG, Part::Kubelet)] {
        let config = files.text(path).and_then(|text| yaml::parse::<Value>(text).ok());
        if let Some(config) = config {
            let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
            let mut configuration = Configuration::new(part, directory, own, &config);
            configuration.walk("", &config, false);
            found.push(configuration);
        }
    }
    for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let path =
            if name == "kube-apiserver" { POD.to_owned() } else { format!("{KUBEADM_PODS}/{name}.yaml") };
        let pod = files.text(&path).and_then(|text| Pod::parse(text).ok());
        if let Some(container) = pod.as_ref().and_then(|pod| pod.container(name)) {
            let mut configuration = Configuration::new(Part::ControlPlane, Path::new("/"), own, &Value::Null);
            let on_host = |flag: &str| {
                let inside = container.flag(flag)?;
                Some(container.on_host(inside.as_ref()).display().to_string())
            };
            configuration.flags(&on_host);
            found.push(configuration);
        }
    }
    if files.read(KUBELET_CONF).is_some() {
        let mut kubelet = Configuration::new(Part::Kubelet, Path::new("/"), own, &Value::Null);
        kubelet.kubeconfigs.push(KUBELET_CONF.to_owned());
        found.push(kubelet);
    }
    let all: Vec<Place> = unique(found.iter().flat_map(|configuration| configuration.authorities.clone()));
    let named = found.into_iter().flat_map(|configuration| configuration.finish(files, &all)).collect();
    (named, all)
}

fn etcd(configured: &Configured) -> Configuration {
    let option = |names: &[&str]| configured.options.first(names);
    let file = |name: &str| Some(Place::File(configured.on_host(option(&[name])?)));
    let mut etcd = Configuration::new(Part::ControlPlane, Path::new("/"), &[], &Value::Null);
    let pairs = [
        ("ETCD_CERT_FILE", "ETCD_KEY_FILE", "ETCD_ADVERTISE_CLIENT_URLS"),
        ("ETCD_PEER_CERT_FILE", "ETCD_PEER_KEY_FILE", "ETCD_INITIAL_ADVERTISE_PEER_URLS"),
    ];
    for (certificate, key, urls) in pairs {
        let Some(certificate) = file(certificate) else { continue };
        let hosts = option(&[urls]).unwrap_or_default().split(',').filter_map(host_of).collect();
        etcd.add(certificate, file(key), Needed::All(hosts), false);
    }
    etcd.authorities = unique(Options::CA.iter().filter_map(|name| file(name)));
    etcd
}

/// What one configuration names.
struct Configuration {
    part: Part,
    /// To which its paths are relative.
    directory: PathBuf,
    own: Vec<String>,
    /// And whether another authority signs it.
    named: Vec<(Named, bool)>,
    authorities: Vec<Place>,
    kubeconfigs: Vec<String>,
}

impl Configuration {
    fn new(part: Part, directory: &Path, own: &[String], config: &Value) -> Self {
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
        let urls = ["/masterPublicURL", "/kubernetesMasterConfig/masterPublicURL"];
        let address = text("/kubernetesMasterConfig/masterIP").map(str::to_owned);
        let published = urls.iter().filter_map(|pointer| host_of(text(pointer)?));
        Self {
            part,
            directory: directory.to_owned(),
            own: own.iter().cloned().chain(published).chain(address).collect(),
            named: Vec::new(),
            authorities: Vec::new(),
            kubeconfigs: Vec::new(),
        }
    }

    fn path(&self, text: &str) -> Option<String> {
        (!text.is_empty())
            .then(|| normal(&self.directory.join(text)))
            .flatten()
            .map(|path| path.display().to_string())
    }

    fn place(&self, text: &str) -> Option<Place> {
        self.path(text).map(Place::File)
    }

    fn add(&mut self, certificate: Place, key: Option<Place>, needed: Needed, is_public: bool) {
        let named = Named { certificate, key, authorities: Vec::new(), needed, part: self.part };
        self.named.push((named, is_public));
    }

    /// A part of OpenShift's configuration, which is the value of `key`.
    fn walk(&mut self, key: &str, value: &Value, is_public: bool) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.walk(key, value, is_public)),
            Value::Object(map) => {
                let text = |name: &str| map.get(name).and_then(Value::as_str);
                let pair = text("certFile").zip(text("keyFile"));
                let pair = pair.and_then(|(cert, key)| Some((self.place(cert)?, self.place(key)?)));
                if let Some((certificate, of_it)) = pair {
                    let is_shown = ["servingInfo", "peerServingInfo"].contains(&key);
                    let needed = if is_shown { Needed::One(self.own.clone()) } else { Needed::Nothing };
                    self.add(certificate, Some(of_it), needed, is_public);
                }
                for (name, value) in map {
                    if let Some(path) = value.as_str().and_then(|text| self.path(text)) {
                        if OPENSHIFT_AUTHORITIES.contains(&name.as_str()) {
                            self.authorities.push(Place::File(path));
                        } else if name.ends_with("KubeConfig") {
                            self.kubeconfigs.push(path);
                        }
                    } else if name.ends_with("Arguments") {
                        let argument = |flag: &str| value.get(flag)?.get(0)?.as_str().map(str::to_owned);
                        self.flags(&argument);
                    } else {
                        self.walk(name, value, is_public || name == PUBLIC);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The flags of a program of Kubernetes.
    fn flags(&mut self, flag: &dyn Fn(&str) -> Option<String>) {
        for (index, [certificate, key]) in PAIRS.iter().enumerate() {
            let Some(certificate) = flag(certificate).and_then(|text| self.place(&text)) else { continue };
            let key = flag(key).and_then(|text| self.place(&text));
            let needed = if index == 0 { Needed::One(self.own.clone()) } else { Needed::Nothing };
            self.add(certificate, key, needed, false);
        }
        let authorities: Vec<Place> =
            AUTHORITIES.iter().filter_map(|name| self.place(&flag(name)?)).collect();
        self.authorities.extend(authorities);
        let kubeconfigs: Vec<String> =
            KUBECONFIGS.iter().filter_map(|name| self.path(&flag(name)?)).collect();
        self.kubeconfigs.extend(kubeconfigs);
    }

    /// With its authorities at each certificate. The client's certificate in a kubeconfig may be of any authority that the
    /// machine's configuration names: the one in the kubeconfig is for the server.
    fn finish(self, files: &MachineFiles<'_>, all: &[Place]) -> Vec<Named> {
        let Self { part, named, authorities, mut kubeconfigs, .. } = self;
        let own = unique(authorities);
        let with_authorities = named.into_iter().map(|(named, is_public)| Named {
            authorities: if is_public { Vec::new() } else { own.clone() },
            ..named
        });
        kubeconfigs.sort();
        kubeconfigs.dedup();
        let of_clients = kubeconfigs.iter().filter_map(|path| kubeconfig::read(path, files.text(path)?));
        let of_clients = of_clients.map(|client| Named {
            certificate: client.certificate,
            key: client.key,
            authorities: unique(client.authorities.into_iter().chain(all.iter().cloned())),
            needed: Needed::Nothing,
            part,
        });
        with_authorities.chain(of_clients).collect()
    }
}

fn unique(places: impl IntoIterator<Item = Place>) -> Vec<Place> {
    let mut places: Vec<Place> = places.into_iter().collect();
    places.sort();
    places.dedup();
    places
}

/// The host of a URL of TLS, without its port.
fn host_of(url: &str) -> Option<String> {
    let authority = url.trim().strip_prefix("https://")?.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}
