//! A stacked control plane as kubeadm leaves it: on each master etcd, the API server and the controllers as static pods of a real kubelet.

use kit::lab::cmd::{Cmd, side_by_side};
use kit::lab::{Host, HostFile, Lab, Role};
use kit::pki::{Authority, Pair};

use crate::cluster::CONTROLLERS;
use crate::kubelet;
use crate::namespace::ENCRYPTION;

const ETCD: &str = "/etc/kubernetes/pki/etcd";
const PKI: &str = "/etc/kubernetes/pki";
const MANIFESTS: &str = "/etc/kubernetes/manifests";

/// The keys of a cluster. Another cluster has others.
pub struct Kubeadm<'l> {
    lab: &'l Lab,
    ca: Authority,
    etcd: Authority,
    front_proxy: Authority,
    accounts: [Vec<u8>; 2],
}

impl<'l> Kubeadm<'l> {
    /// `generation` tells clusters in one lab apart.
    pub fn new(lab: &'l Lab, generation: &str) -> Self {
        let authority = |name: &str| Authority::of_lab(lab, &format!("{name}{generation}")).unwrap();
        let private = Cmd::new("openssl").args(["genrsa", "-traditional", "2048"]).run().unwrap().stdout;
        let public =
            Cmd::new("openssl").args(["rsa", "-pubout"]).stdin(private.clone()).run().unwrap().stdout;
        Self {
            lab,
            ca: authority("kubernetes"),
            etcd: authority("etcd-ca"),
            front_proxy: authority("front-proxy-ca"),
            accounts: [private, public],
        }
    }

    /// Makes a cluster of hosts with kubelets, and waits until its API servers listen.
    pub fn found(&self) {
        let masters = self.lab.with(Role::Master);
        side_by_side(&masters, |host| {
            host.write_files(&self.files(host))?;
            let current = "/var/lib/kubelet/pki/kubelet-client-current.pem";
            host.run(&format!("ln -s kubelet-client-2026-11-28-10-00-00.pem {current}"))?;
            // They start together; kubeadm starts the first, then adds the others.
            host.write_file(&etcd(host, &masters, false))?;
            host.run("install -d -m 0700 /var/lib/etcd")?;
            host.systemctl("restart kubelet.service")
        })
        .unwrap();
        masters.iter().for_each(|host| kubelet::wait_for_port(host, 2379));
        for (index, host) in masters.iter().enumerate() {
            // As it is after that: each member names those that were there when it joined.
            host.write_file(&etcd(host, &masters[..=index], index > 0)).unwrap();
            host.write_file(&api_server(host)).unwrap();
        }
        masters.iter().for_each(|host| kubelet::wait_for_port(host, 6443));
        masters.iter().for_each(|host| host.write_file(&controllers()).unwrap());
        masters.iter().for_each(|host| kubelet::wait_for_port(host, 10257));
    }

    /// A kubeconfig of an administrator.
    pub fn admin(&self, master: &Host) -> String {
        let pair = self.ca.issue("admin", "/O=system:masters/CN=kubernetes-admin", "").unwrap();
        self.kubeconfig(&format!("https://{}:6443", master.name), &pair)
    }

    fn kubeconfig(&self, server: &str, user: &Pair) -> String {
        let [ca, certificate, key] =
            [&self.ca.pair().unwrap().certificate, &user.certificate, &user.key].map(|bytes| base64(bytes));
        format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {ca}\n    server: {server}\n  name: kubernetes\n\
             contexts:\n- context:\n    cluster: kubernetes\n    user: user\n  name: user@kubernetes\ncurrent-context: user@kubernetes\n\
             kind: Config\npreferences: {{}}\nusers:\n- name: user\n  user:\n    client-certificate-data: {certificate}\n    \
             client-key-data: {key}\n"
        )
    }

    /// All but the manifests.
    fn files(&self, host: &Host) -> Vec<HostFile> {
        let (name, address) = (&host.name, host.address());
        let issue = |authority: &Authority, kind: &str, subject: &str, names: &str| {
            authority.issue(&format!("{}-{kind}", host.short_name()), subject, names).unwrap()
        };
        let server = format!("/CN={name}");
        let members = format!("DNS:{name},DNS:localhost,IP:{address},IP:127.0.0.1");
        let api = format!("DNS:{name},DNS:kubernetes,DNS:kubernetes.default,IP:10.96.0.1,IP:{address}");
        let masters = "/O=system:masters/CN=kube-apiserver-kubelet-client";
        let node = format!("/O=system:nodes/CN=system:node:{name}");
        let pairs = [
            ("ca", self.ca.pair().unwrap()),
            ("front-proxy-ca", self.front_proxy.pair().unwrap()),
            ("etcd/ca", self.etcd.pair().unwrap()),
            ("apiserver", issue(&self.ca, "apiserver", "/CN=kube-apiserver", &api)),
            ("apiserver-kubelet-client", issue(&self.ca, "kubelet-client", masters, "")),
            ("apiserver-etcd-client", issue(&self.etcd, "etcd-client", "/CN=kube-apiserver-etcd-client", "")),
            ("front-proxy-client", issue(&self.front_proxy, "front-proxy", "/CN=front-proxy-client", "")),
            ("etcd/server", issue(&self.etcd, "server", &server, &members)),
            ("etcd/peer", issue(&self.etcd, "peer", &server, &members)),
            ("etcd/healthcheck-client", issue(&self.etcd, "health", "/CN=kube-etcd-healthcheck-client", "")),
        ];
        let mut files = Vec::new();
        for (name, pair) in pairs {
            files.push(HostFile::new(format!("{PKI}/{name}.crt"), 0o644, pair.certificate));
            files.push(HostFile::new(format!("{PKI}/{name}.key"), 0o600, pair.key));
        }
        let node = issue(&self.ca, "node", &node, "");
        let rotated = [node.certificate.as_slice(), &node.key].concat();
        let local = format!("https://{address}:6443");
        let manager = issue(&self.ca, "manager", "/CN=system:kube-controller-manager", "");
        let kubelet = self.kubeconfig(&local, &node);
        // The kubelet renews it, so it is in a file of its own.
        let kubelet = kubelet.split("    client-certificate-data").next().unwrap_or_default();
        let current = "/var/lib/kubelet/pki/kubelet-client-current.pem";
        let kubelet = format!("{kubelet}    client-certificate: {current}\n    client-key: {current}\n");
        let [private, public] = self.accounts.clone();
        files.extend([
            HostFile::new(format!("{PKI}/sa.key"), 0o600, private),
            HostFile::new(format!("{PKI}/sa.pub"), 0o600, public),
            HostFile::new("/etc/kubernetes/admin.conf", 0o600, self.admin(host)),
            HostFile::new(
                "/etc/kubernetes/controller-manager.conf",
                0o600,
                self.kubeconfig(&local, &manager),
            ),
            HostFile::new("/etc/kubernetes/kubelet.conf", 0o600, kubelet),
            HostFile::new("/etc/kubernetes/encryption/config.yaml", 0o600, ENCRYPTION),
            HostFile::new("/var/lib/kubelet/pki/kubelet-client-2026-11-28-10-00-00.pem", 0o600, rotated),
            HostFile::new("/var/lib/kubelet/config.yaml", 0o644, KUBELET),
            HostFile::new("/var/lib/kubelet/kubeadm-flags.env", 0o644, "KUBELET_KUBEADM_ARGS=\"\"\n"),
        ]);
        files
    }
}

/// etcd's manifest, which names these members.
fn etcd(host: &Host, members: &[&Host], has_joined: bool) -> HostFile {
    let (name, address) = (&host.name, host.address());
    let of = |host: &&Host| format!("{}=https://{}:2380", host.name, host.address());
    let cluster = members.iter().map(of).collect::<Vec<_>>().join(",");
    let mut command = vec![
        "etcd".to_owned(),
        format!("--advertise-client-urls=https://{address}:2379"),
        format!("--cert-file={ETCD}/server.crt"),
        "--client-cert-auth=true".to_owned(),
        "--data-dir=/var/lib/etcd".to_owned(),
        format!("--initial-advertise-peer-urls=https://{address}:2380"),
        format!("--initial-cluster={cluster}"),
    ];
    if has_joined {
        command.push("--initial-cluster-state=existing".to_owned());
    }
    command.extend([
        format!("--key-file={ETCD}/server.key"),
        format!("--listen-client-urls=https://127.0.0.1:2379,https://{address}:2379"),
        "--listen-metrics-urls=http://127.0.0.1:2381".to_owned(),
        format!("--listen-peer-urls=https://{address}:2380"),
        format!("--name={name}"),
        format!("--peer-cert-file={ETCD}/peer.crt"),
        "--peer-client-cert-auth=true".to_owned(),
        format!("--peer-key-file={ETCD}/peer.key"),
        format!("--peer-trusted-ca-file={ETCD}/ca.crt"),
        "--snapshot-count=10000".to_owned(),
        format!("--trusted-ca-file={ETCD}/ca.crt"),
    ]);
    let probe = ("HTTP", "127.0.0.1", 2381);
    let volumes = [("etcd-data", "/var/lib/etcd"), ("etcd-certs", ETCD)];
    pod("etcd", &command, &volumes, probe, ["/livez", "/readyz"])
}

fn api_server(host: &Host) -> HostFile {
    let address = host.address().to_string();
    let command = [
        "kube-apiserver".to_owned(),
        format!("--advertise-address={address}"),
        "--allow-privileged=true".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        format!("--client-ca-file={PKI}/ca.crt"),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--enable-bootstrap-token-auth=true".to_owned(),
        "--encryption-provider-config=/etc/kubernetes/encryption/config.yaml".to_owned(),
        format!("--etcd-cafile={ETCD}/ca.crt"),
        format!("--etcd-certfile={PKI}/apiserver-etcd-client.crt"),
        format!("--etcd-keyfile={PKI}/apiserver-etcd-client.key"),
        "--etcd-servers=https://127.0.0.1:2379".to_owned(),
        format!("--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt"),
        format!("--kubelet-client-key={PKI}/apiserver-kubelet-client.key"),
        format!("--proxy-client-cert-file={PKI}/front-proxy-client.crt"),
        format!("--proxy-client-key-file={PKI}/front-proxy-client.key"),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        format!("--requestheader-client-ca-file={PKI}/front-proxy-ca.crt"),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--secure-port=6443".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={PKI}/sa.pub"),
        format!("--service-account-signing-key-file={PKI}/sa.key"),
        "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
        format!("--tls-cert-file={PKI}/apiserver.crt"),
        format!("--tls-private-key-file={PKI}/apiserver.key"),
    ];
    let volumes =
        [("ca-certs", "/etc/ssl/certs"), ("k8s-certs", PKI), ("encryption", "/etc/kubernetes/encryption")];
    pod("kube-apiserver", &command, &volumes, ("HTTPS", &address, 6443), ["/livez", "/livez"])
}

fn controllers() -> HostFile {
    let config = "/etc/kubernetes/controller-manager.conf";
    let command = [
        "kube-controller-manager".to_owned(),
        format!("--authentication-kubeconfig={config}"),
        format!("--authorization-kubeconfig={config}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--client-ca-file={PKI}/ca.crt"),
        format!("--cluster-signing-cert-file={PKI}/ca.crt"),
        format!("--cluster-signing-key-file={PKI}/ca.key"),
        format!("--controllers={CONTROLLERS}"),
        format!("--kubeconfig={config}"),
        "--leader-elect=true".to_owned(),
        format!("--requestheader-client-ca-file={PKI}/front-proxy-ca.crt"),
        format!("--root-ca-file={PKI}/ca.crt"),
        format!("--service-account-private-key-file={PKI}/sa.key"),
        "--use-service-account-credentials=true".to_owned(),
    ];
    let volumes = [("ca-certs", "/etc/ssl/certs"), ("k8s-certs", PKI), ("kubeconfig", config)];
    let probe = ("HTTPS", "127.0.0.1", 10257);
    pod("kube-controller-manager", &command, &volumes, probe, ["/healthz", "/healthz"])
}

/// A static pod on the host's network, with the probes that kubeadm gives it.
fn pod(
    name: &str,
    command: &[String],
    volumes: &[(&str, &str)],
    (scheme, address, port): (&str, &str, u16),
    [alive, started]: [&str; 2],
) -> HostFile {
    let probe = |kind: &str, path: &str, failures: u32| {
        format!(
            "    {kind}:\n      failureThreshold: {failures}\n      httpGet:\n        host: {address}\n        path: {path}\n        \
             port: {port}\n        scheme: {scheme}\n      initialDelaySeconds: 10\n      periodSeconds: 10\n      timeoutSeconds: 15\n"
        )
    };
    let command: String = command.iter().map(|word| format!("    - {word}\n")).collect();
    let (mut mounts, mut sources) = (String::new(), String::new());
    for (volume, path) in volumes {
        let kind = if path.ends_with(".conf") { "FileOrCreate" } else { "DirectoryOrCreate" };
        mounts += &format!("    - mountPath: {path}\n      name: {volume}\n");
        sources += &format!("  - hostPath:\n      path: {path}\n      type: {kind}\n    name: {volume}\n");
    }
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    component: {name}\n    tier: control-plane\n  name: {name}\n  \
         namespace: kube-system\nspec:\n  containers:\n  - command:\n{command}    image: registry.k8s.io/{name}:1\n    \
         imagePullPolicy: IfNotPresent\n{alive}    name: {name}\n    resources:\n      requests:\n        cpu: 100m\n{started}    \
         volumeMounts:\n{mounts}  hostNetwork: true\n  priority: 2000001000\n  priorityClassName: system-node-critical\n  \
         securityContext:\n    seccompProfile:\n      type: RuntimeDefault\n  volumes:\n{sources}status: {{}}\n",
        alive = probe("livenessProbe", alive, 8),
        started = probe("startupProbe", started, 24),
    );
    HostFile::new(format!("{MANIFESTS}/{name}.yaml"), 0o600, text)
}

fn base64(bytes: &[u8]) -> String {
    Cmd::new("base64").arg("--wrap=0").stdin(bytes).run().unwrap().text()
}

/// As kubeadm writes it, apart from what containers in a container lack: swap, quality-of-service groups, free space.
const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: { enabled: false }
  webhook: { cacheTTL: 0s, enabled: true }
  x509: { clientCAFile: /etc/kubernetes/pki/ca.crt }
authorization:
  mode: Webhook
  webhook: { cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s }
cgroupDriver: cgroupfs
cgroupsPerQOS: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///var/run/containerd/containerd.sock
enforceNodeAllocatable: []
evictionHard: { memory.available: 10Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1% }
failCgroupV1: false
failSwapOn: false
healthzBindAddress: 127.0.0.1
healthzPort: 10248
imageGCHighThresholdPercent: 99
resolvConf: ''
rotateCertificates: true
staticPodPath: /etc/kubernetes/manifests
";
