use std::fs;

use super::*;

/// As OpenShift 3.x's installer writes it.
const CONF: &str = r#"ETCD_NAME=etcd1.example.com
ETCD_LISTEN_PEER_URLS=https://10.0.3.1:2380
ETCD_DATA_DIR=/var/lib/etcd/
#ETCD_WAL_DIR=""
#ETCD_SNAPSHOT_COUNT=10000
ETCD_HEARTBEAT_INTERVAL=500
ETCD_ELECTION_TIMEOUT=2500
ETCD_LISTEN_CLIENT_URLS=https://10.0.3.1:2379

#[cluster]
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://10.0.3.1:2380
ETCD_INITIAL_CLUSTER=etcd1.example.com=https://10.0.3.1:2380,etcd2.example.com=https://10.0.3.2:2380
ETCD_INITIAL_CLUSTER_STATE=new
ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster-1
ETCD_ADVERTISE_CLIENT_URLS=https://10.0.3.1:2379
#ETCD_STRICT_RECONFIG_CHECK="false"

#[security]
ETCD_TRUSTED_CA_FILE=/etc/etcd/ca.crt
ETCD_CLIENT_CERT_AUTH="true"
ETCD_CERT_FILE=/etc/etcd/server.crt
ETCD_KEY_FILE=/etc/etcd/server.key
ETCD_PEER_TRUSTED_CA_FILE=/etc/etcd/ca.crt
ETCD_PEER_CLIENT_CERT_AUTH="true"
ETCD_PEER_CERT_FILE=/etc/etcd/peer.crt
ETCD_PEER_KEY_FILE=/etc/etcd/peer.key
"#;

/// OpenShift 3.10 and 3.11: the pod's shell sources a configuration, here of another directory.
const OPENSHIFT_POD: &str = r#"kind: Pod
apiVersion: v1
metadata:
  name: master-etcd
  namespace: kube-system
  labels:
    openshift.io/control-plane: "true"
    openshift.io/component: etcd
  annotations:
    scheduler.alpha.kubernetes.io/critical-pod: ''
spec:
  restartPolicy: Always
  hostNetwork: true
  containers:
  - name: etcd
    image: "registry.redhat.io/rhel7/etcd:3.2.22"
    workingDir: /var/lib/etcd
    command: ["/bin/sh", "-c"]
    args:
    - |
      #!/bin/sh
      set -o allexport
      source /etc/etcd/etcd.conf
      exec etcd
    securityContext:
      privileged: true
    volumeMounts:
     - mountPath: /etc/etcd/
       name: master-config
       readOnly: true
     - mountPath: /var/lib/etcd/
       name: master-data
    livenessProbe:
      exec:
        command: [etcdctl, cluster-health]
      initialDelaySeconds: 45
  volumes:
  - name: master-config
    hostPath:
      path: /srv/etcd-config/
  - name: master-data
    hostPath:
      path: /srv/etcd-data
"#;

const KUBEADM_POD: &str = r"apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/etcd.advertise-client-urls: https://192.168.7.2:2379
  creationTimestamp: null
  labels: {component: etcd, tier: control-plane}
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
    - etcd
    - --advertise-client-urls=https://192.168.7.2:2379
    - --cert-file=/etc/kubernetes/pki/etcd/server.crt
    - --client-cert-auth=true
    - --data-dir=/var/lib/etcd
    - --key-file=/etc/kubernetes/pki/etcd/server.key
    - --listen-client-urls=https://127.0.0.1:2379,https://192.168.7.2:2379
    - --name=control-plane
    - --peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt
    - --peer-client-cert-auth=true
    - --peer-key-file=/etc/kubernetes/pki/etcd/peer.key
    - --peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
    - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
    image: registry.k8s.io/etcd:3.5.9-0
    livenessProbe: {httpGet: {path: /health, port: 2381}}
    name: etcd
    volumeMounts:
    - {mountPath: /var/lib/etcd, name: etcd-data}
    - {mountPath: /etc/kubernetes/pki/etcd, name: etcd-certs}
  hostNetwork: true
  volumes:
  - hostPath: {path: /etc/kubernetes/pki/etcd, type: DirectoryOrCreate}
    name: etcd-certs
  - hostPath: {path: /var/lib/etcd-on-disk, type: DirectoryOrCreate}
    name: etcd-data
status: {}
";

/// A host with these files.
struct Host(tempfile::TempDir);

impl Host {
    fn with(files: &[(&str, &str)]) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            host.write(path, text.as_bytes());
        }
        host
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        below(self.0.path(), Path::new(path))
    }

    fn discover(&self) -> Result<LocalMember, DiscoverError> {
        discover(&settings(), self.0.path())
    }
}

fn settings() -> EtcdSettings {
    nightshift_core::fixtures::etcd_settings("/etc/etcd/etcd.conf".into())
}

#[test]
fn a_member_of_openshift_is_found_by_its_etcd_conf() {
    let host =
        Host::with(&[("/etc/etcd/etcd.conf", CONF), ("/etc/kubernetes/manifests/etcd.yaml", KUBEADM_POD)]);
    let member = host.discover().unwrap();
    assert_eq!(member.endpoint, "https://10.0.3.1:2379");
    assert_eq!(member.name.as_deref(), Some("etcd1.example.com"));
    assert_eq!(member.data_dir, Some(host.path("/var/lib/etcd/")));
    let tls = TlsFiles {
        ca: Some(host.path("/etc/etcd/ca.crt")),
        cert: Some(host.path("/etc/etcd/peer.crt")),
        key: Some(host.path("/etc/etcd/peer.key")),
    };
    assert_eq!(member.tls, tls);
    let files = ["ca.crt", "etcd.conf", "peer.crt", "peer.key", "server.crt", "server.key"];
    assert_eq!(member.files, files.map(|name| host.path(&format!("/etc/etcd/{name}"))));
}

#[test]
fn the_server_certificate_and_the_listen_url_are_used_if_there_is_no_peer_certificate_and_no_advertised_url()
{
    let conf = "ETCD_LISTEN_CLIENT_URLS=unix://x,https://0.0.0.0:2379\nETCD_CA_FILE=/etc/etcd/ca.crt\n\
                ETCD_PEER_CERT_FILE=/etc/etcd/peer.crt\nETCD_CERT_FILE=/etc/etcd/server.crt\nETCD_KEY_FILE=/etc/etcd/server.key\n";
    let host = Host::with(&[("/etc/etcd/etcd.conf", conf)]);
    let member = host.discover().unwrap();
    assert_eq!(member.endpoint, "https://127.0.0.1:2379");
    assert_eq!(member.tls.ca, Some(host.path("/etc/etcd/ca.crt")));
    assert_eq!(member.tls.cert, Some(host.path("/etc/etcd/server.crt")));
    assert_eq!(member.name, None);
}

#[test]
fn a_pod_that_sources_its_configuration_is_followed_through_its_mounts() {
    let manifest = "/etc/origin/node/pods/etcd.yaml";
    let host = Host::with(&[(manifest, OPENSHIFT_POD), ("/srv/etcd-config/etcd.conf", CONF)]);
    let member = host.discover().unwrap();
    assert_eq!(member.endpoint, "https://10.0.3.1:2379");
    assert_eq!(member.data_dir, Some(host.path("/srv/etcd-data")));
    assert_eq!(member.tls.key, Some(host.path("/srv/etcd-config/peer.key")));
    assert!(member.files.contains(&host.path(manifest)), "{:?}", member.files);
    assert!(member.files.contains(&host.path("/srv/etcd-config/etcd.conf")), "{:?}", member.files);
}

#[test]
fn the_member_of_a_kubeadm_pod_is_found_by_its_flags() {
    let host = Host::with(&[("/etc/kubernetes/manifests/etcd.yaml", KUBEADM_POD)]);
    let member = host.discover().unwrap();
    assert_eq!(member.endpoint, "https://192.168.7.2:2379");
    assert_eq!(member.name.as_deref(), Some("control-plane"));
    assert_eq!(member.data_dir, Some(host.path("/var/lib/etcd-on-disk")));
    assert_eq!(member.tls.ca, Some(host.path("/etc/kubernetes/pki/etcd/ca.crt")));
    assert_eq!(member.tls.cert, Some(host.path("/etc/kubernetes/pki/etcd/peer.crt")));
    assert_eq!(member.files.len(), 6, "{:?}", member.files);
}

#[test]
fn flags_take_precedence_over_the_pods_variables_and_may_be_separate_from_their_values() {
    let pod = "spec:\n  containers:\n  - name: etcd\n    args: [etcd, --name, two, -data-dir, /data, --wal-dir=/wal, --debug]\n    \
               env:\n    - {name: ETCD_NAME, value: one}\n    - {name: POD_IP, valueFrom: {}}\n    \
               - {name: ETCD_ADVERTISE_CLIENT_URLS, value: 'http://127.0.0.1:2379'}\n";
    let host = Host::with(&[("/etc/kubernetes/manifests/etcd.yaml", pod)]);
    let member = host.discover().unwrap();
    assert_eq!(member.name.as_deref(), Some("two"));
    assert_eq!((member.data_dir, member.wal_dir), (Some(host.path("/data")), Some(host.path("/wal"))));
    assert_eq!((member.endpoint.as_str(), member.tls), ("http://127.0.0.1:2379", TlsFiles::default()));
}

#[test]
fn each_setting_takes_precedence_over_the_configuration() {
    let host = Host::with(&[("/etc/etcd/etcd.conf", CONF)]);
    let endpoint = Some("https://etcd1:2379".to_owned());
    let set = EtcdSettings { endpoint, ca: Some("/ca.crt".into()), ..settings() };
    let member = discover(&set, host.0.path()).unwrap();
    assert_eq!(member.endpoint, "https://etcd1:2379");
    assert_eq!(member.tls.ca, Some(host.path("/ca.crt")));
    assert_eq!(member.tls.cert, Some(host.path("/etc/etcd/peer.crt")));
    assert_eq!(member.name.as_deref(), Some("etcd1.example.com"));
}

#[test]
fn the_settings_alone_are_enough() {
    let set = EtcdSettings { endpoint: Some("http://127.0.0.1:2379".into()), ..settings() };
    let member = discover(&set, Host::with(&[]).0.path()).unwrap();
    assert_eq!((member.name, member.data_dir, member.files), (None, None, Vec::new()));
}

#[test]
fn the_error_of_a_host_without_a_member_names_the_files_that_were_searched() {
    let error = Host::with(&[]).discover().unwrap_err().to_string();
    for place in
        ["/etc/etcd/etcd.conf", "/etc/origin/node/pods/etcd.yaml", "/etc/kubernetes/manifests/etcd.yaml"]
    {
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn a_member_without_configured_urls_listens_where_etcd_listens_by_default() {
    let debian = Host::with(&[("/etc/default/etcd", "## etcd(1) daemon options\n# ETCD_NAME=\"x\"\n")]);
    let member = debian.discover().unwrap();
    assert_eq!((member.endpoint.as_str(), member.tls), ("http://localhost:2379", TlsFiles::default()));
    assert!(member.origin.contains("/etc/default/etcd"), "{}", member.origin);
}

#[test]
fn a_configuration_in_yaml_is_read_wherever_it_is() {
    let conf = "name: m1\ndata-dir: /var/lib/etcd\nlisten-client-urls: https://10.0.0.1:2379\n\
        listen-client-http-urls: https://127.0.0.1:2382\nclient-transport-security:\n  cert-file: /c\n  key-file: /k\n  \
        trusted-ca-file: /ca\n";
    for path in
        ["/etc/etcd/etcd.conf.yml", "/etc/etcd/etcd.conf", "/var/lib/rancher/k3s/server/db/etcd/config"]
    {
        let member = Host::with(&[(path, conf)]).discover().unwrap();
        assert_eq!(
            (member.endpoint.as_str(), member.name.as_deref()),
            ("https://10.0.0.1:2379", Some("m1")),
            "{path}"
        );
        assert_eq!(member.http_url.as_deref(), Some("https://127.0.0.1:2382"));
        assert!(member.tls.ca.is_some() && member.tls.cert.is_some());
    }
}

#[test]
fn the_file_that_gave_the_address_is_named_with_others_that_configure_etcd() {
    let pod = "kind: Pod\nspec:\n  containers:\n  - name: etcd\n    command: [etcd, --advertise-client-urls=http://127.0.0.1:1]\n";
    let both = Host::with(&[
        ("/etc/etcd/etcd.conf", "ETCD_ADVERTISE_CLIENT_URLS=http://localhost:2379\n"),
        ("/etc/kubernetes/manifests/etcd.yaml.backup", pod),
        ("/etc/kubernetes/manifests/.etcd.yaml.swp", pod),
    ]);
    let origin = both.discover().unwrap().origin;
    assert!(origin.contains("etc/etcd/etcd.conf; ") && origin.contains("etcd.yaml.backup"), "{origin}");
    assert!(!origin.contains(".swp"), "{origin}");
    let only = Host::with(&[("/etc/kubernetes/manifests/etcd.yaml.backup", pod)]);
    assert_eq!(only.discover().unwrap().endpoint, "http://127.0.0.1:1");
}

#[test]
fn a_leftover_that_cannot_be_read_does_not_hide_a_good_configuration() {
    let leftovers = [("/etc/etcd/etcd.conf.yml", "name: ["), ("/etc/kubernetes/manifests/etcd.yaml", "- [")];
    let host = Host::with(&[&[("/etc/etcd/etcd.conf", CONF)], &leftovers[..]].concat());
    assert_eq!(host.discover().unwrap().endpoint, "https://10.0.3.1:2379");
    assert!(Host::with(&leftovers).discover().is_err());
}

#[test]
fn a_configuration_of_comments_only_hides_no_pod() {
    let pod = "kind: Pod\nspec:\n  containers:\n  - name: etcd\n    command: [etcd, --advertise-client-urls=http://127.0.0.1:1]\n";
    // As Debian's package installs it.
    let comments =
        ("/etc/default/etcd", "## etcd(1) daemon options\n# ETCD_NAME=\"hostname\"\nDAEMON_ARGS=\n");
    let host = Host::with(&[comments, ("/etc/kubernetes/manifests/etcd.yaml", pod)]);
    assert_eq!(host.discover().unwrap().endpoint, "http://127.0.0.1:1");
    assert_eq!(Host::with(&[comments]).discover().unwrap().endpoint, "http://localhost:2379");
    let broken = Host::with(&[comments, ("/etc/kubernetes/manifests/etcd.yaml", "- [")]);
    assert!(matches!(broken.discover(), Err(DiscoverError::NotAManifest { .. })));
}

#[test]
fn where_the_peers_have_their_own_ca_the_servers_certificate_is_used() {
    // As k3s and RKE2 write it.
    let conf = "name: s1\nadvertise-client-urls: https://10.0.0.1:2379\n\
        client-transport-security:\n  cert-file: /tls/server-client.crt\n  key-file: /tls/server-client.key\n  trusted-ca-file: /tls/server-ca.crt\n\
        peer-transport-security:\n  cert-file: /tls/peer-server-client.crt\n  key-file: /tls/peer-server-client.key\n  trusted-ca-file: /tls/peer-ca.crt\n";
    for (conf, wanted) in [
        (conf.to_owned(), "tls/server-client.crt"),
        (conf.replace("peer-ca.crt", "server-ca.crt"), "tls/peer-server-client.crt"),
    ] {
        let host = Host::with(&[("/var/lib/rancher/k3s/server/db/etcd/config", &conf)]);
        let tls = host.discover().unwrap().tls;
        assert!(tls.cert.unwrap().ends_with(wanted) && tls.ca.unwrap().ends_with("tls/server-ca.crt"));
    }
}

#[test]
fn the_ca_is_known_for_the_other_members_even_if_the_own_endpoint_is_http() {
    let host = Host::with(&[("/etc/etcd/etcd.conf", CONF)]);
    let settings = EtcdSettings { endpoint: Some("http://127.0.0.1:2379".into()), ..settings() };
    let member = discover(&settings, host.0.path()).unwrap();
    assert_eq!((member.endpoint.as_str(), member.origin.as_str()), ("http://127.0.0.1:2379", ""));
    assert_eq!(member.tls.ca, Some(host.path("/etc/etcd/ca.crt")));
}

#[test]
fn a_comment_in_another_encoding_does_not_hide_a_configuration() {
    let host = Host::with(&[]);
    host.write("/etc/etcd/etcd.conf", b"# R\xe9serv\xe9\nETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:2379\n");
    assert_eq!(host.discover().unwrap().endpoint, "http://10.0.0.1:2379");
}

#[test]
fn an_incomplete_configuration_is_refused_with_what_is_missing() {
    let no_url = Host::with(&[("/etc/etcd/etcd.conf", "ETCD_ADVERTISE_CLIENT_URLS=unix://localhost:2379\n")]);
    assert!(matches!(no_url.discover(), Err(DiscoverError::NoClientUrl { .. })));
    let no_ca = Host::with(&[("/etc/etcd/etcd.conf", "ETCD_ADVERTISE_CLIENT_URLS=https://10.0.3.1:2379\n")]);
    let error = no_ca.discover().unwrap_err().to_string();
    assert!(error.contains("etcd.conf") && error.contains("ETCD_TRUSTED_CA_FILE"), "{error}");
    let other = "spec: {containers: [{name: api, command: [hyperkube]}]}";
    let no_etcd = Host::with(&[("/etc/kubernetes/manifests/etcd.yaml", other)]);
    assert!(matches!(no_etcd.discover(), Err(DiscoverError::NoContainer { .. })));
    let half = EtcdSettings { cert: Some("/c".into()), ..settings() };
    assert!(matches!(discover(&half, Path::new("/")), Err(DiscoverError::HalfIdentity)));
}

#[test]
fn a_manifest_that_expands_to_a_huge_value_is_refused() {
    let deep = format!("spec: {}1{}", "[".repeat(5000), "]".repeat(5000));
    let aliases = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nspec: [*b, *b]\n".to_owned();
    for text in [deep, aliases, "- [".to_owned(), String::new()] {
        let host = Host::with(&[("/etc/kubernetes/manifests/etcd.yaml", &text)]);
        assert!(matches!(host.discover(), Err(DiscoverError::NotAManifest { .. })), "{text:.40}");
    }
}
