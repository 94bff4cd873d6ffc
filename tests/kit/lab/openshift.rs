//! The files of an OpenShift 3.9 cluster, as its installer leaves them: real keys and certificates, believable settings,
//! and the owners and modes of a real host.

use super::cluster::Lab;
use super::cmd::Cmd;
use super::cmd::side_by_side;
use super::error::Result;
use super::etcd;
use super::host::Host;
use super::inside::HostFile;
use super::topology::Role;
use crate::pki::{Authority, Pair};

const MASTER: &str = "/etc/origin/master";
const NODE: &str = "/etc/origin/node";

/// Lays each host's files by its roles. Masters are nodes too, as in every cluster of that version.
pub fn lay(lab: &Lab) -> Result<()> {
    let cluster = Cluster::of(lab)?;
    side_by_side(&lab.hosts().iter().collect::<Vec<_>>(), |host| {
        let mut files = Vec::new();
        if host.has(Role::Master) {
            files.extend(cluster.master_files(host)?);
        }
        if [Role::Master, Role::Node, Role::Agentless].iter().any(|&role| host.has(role)) {
            files.extend(cluster.node_files(host)?);
        }
        if host.has(Role::Etcd) && !host.has(Role::Master) {
            files.push(root_cron(host));
        }
        host.write_files(&files)?;
        // The folder's own mode is a part of what a backup has to bring back.
        host.run("for dir in /etc/origin/master /etc/origin/node; do [ ! -d $dir ] || chmod 0700 $dir; done")
            .map(drop)
    })
    .map(drop)
}

/// Stand-ins for the units of 3.9, which cannot be had: by their names, as Ansible's roles install and start them.
pub fn services(lab: &Lab) -> Result<()> {
    side_by_side(&lab.hosts().iter().collect::<Vec<_>>(), |host| {
        let mut units = Vec::new();
        if host.has(Role::Master) {
            units.extend(["atomic-openshift-master-api", "atomic-openshift-master-controllers"]);
        }
        if [Role::Master, Role::Node].iter().any(|&role| host.has(role)) {
            units.push("atomic-openshift-node");
        }
        for unit in units {
            let text = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
            host.write_file(&HostFile::new(format!("/etc/systemd/system/{unit}.service"), 0o644, text))?;
            host.systemctl(&format!("enable --now --quiet {unit}.service"))?;
        }
        Ok(())
    })
    .map(drop)
}

struct Cluster {
    authority: Authority,
    etcd_authority: Authority,
    admin: Pair,
    token_key: Vec<u8>,
    token_public_key: Vec<u8>,
    etcd_urls: String,
    inventory: String,
}

impl Cluster {
    fn of(lab: &Lab) -> Result<Self> {
        let token_key = Cmd::new("openssl").args(["genrsa", "-traditional", "2048"]).run()?.stdout;
        let token_public_key =
            (Cmd::new("openssl").args(["rsa", "-pubout"]).stdin(token_key.clone()).run())?.stdout;
        let etcd_urls =
            lab.with(Role::Etcd).iter().map(|host| format!("  - https://{}:2379\n", host.name)).collect();
        let authority = Authority::of_lab(lab, "openshift-signer")?;
        let admin = authority.issue("admin", "/O=system:cluster-admins/CN=system:admin", "")?;
        Ok(Self {
            authority,
            admin,
            etcd_authority: Authority::of_lab(lab, etcd::AUTHORITY)?,
            token_key,
            token_public_key,
            etcd_urls,
            inventory: inventory(lab),
        })
    }

    fn master_files(&self, host: &Host) -> Result<Vec<HostFile>> {
        let names = format!("DNS:{},IP:{},DNS:kubernetes", host.name, host.address());
        let file_name = |kind: &str| format!("{}-{kind}", host.short_name());
        let server =
            self.authority.issue(&file_name("server"), &format!("/CN={}", host.address()), &names)?;
        let etcd_client =
            self.etcd_authority.issue(&file_name("etcd-client"), &format!("/CN={}", host.name), &names)?;
        let etcd_ca = self.etcd_authority.pair()?;
        let ca = self.authority.pair()?;
        let master =
            |name: &str, mode, content: &[u8]| HostFile::new(format!("{MASTER}/{name}"), mode, content);
        Ok(vec![
            master("master-config.yaml", 0o600, self.master_config(host).as_bytes()),
            master("ca.crt", 0o644, &ca.certificate),
            master("ca-bundle.crt", 0o644, &ca.certificate),
            master("ca.key", 0o600, &ca.key),
            master("ca.serial.txt", 0o644, b"0E\n"),
            master("master.server.crt", 0o644, &server.certificate),
            master("master.server.key", 0o600, &server.key),
            master("master.etcd-ca.crt", 0o600, &etcd_ca.certificate),
            master("master.etcd-client.crt", 0o600, &etcd_client.certificate),
            master("master.etcd-client.key", 0o600, &etcd_client.key),
            master("admin.crt", 0o644, &self.admin.certificate),
            master("admin.key", 0o600, &self.admin.key),
            master("admin.kubeconfig", 0o600, kubeconfig(host, "admin").as_bytes()),
            master("serviceaccounts.private.key", 0o600, &self.token_key),
            master("serviceaccounts.public.key", 0o644, &self.token_public_key),
            master("policy.json", 0o644, POLICY),
            master("scheduler.json", 0o644, SCHEDULER),
            master("htpasswd", 0o600, HTPASSWD),
            master("session-secrets.yaml", 0o600, SESSION_SECRETS),
            sysconfig("atomic-openshift-master-api", "OPTIONS=--loglevel=2 --listen=https://0.0.0.0:8443"),
            sysconfig(
                "atomic-openshift-master-controllers",
                "OPTIONS=--loglevel=2 --listen=https://0.0.0.0:8444",
            ),
            HostFile::new("/etc/ansible/hosts", 0o644, self.inventory.as_bytes()),
        ])
    }

    fn node_files(&self, host: &Host) -> Result<Vec<HostFile>> {
        let names = format!("DNS:{},IP:{}", host.name, host.address());
        let subject = format!("/O=system:nodes/CN=system:node:{}", host.name);
        let kubelet = self.authority.issue(&format!("{}-node", host.short_name()), &subject, &names)?;
        let ca = self.authority.pair()?;
        let user = format!("system:node:{}", host.name);
        let node = |name: &str, mode, content: &[u8]| HostFile::new(format!("{NODE}/{name}"), mode, content);
        Ok(vec![
            node("node-config.yaml", 0o600, node_config(host).as_bytes()),
            node("ca.crt", 0o644, &ca.certificate),
            node("server.crt", 0o600, &kubelet.certificate),
            node("server.key", 0o600, &kubelet.key),
            node(&format!("{user}.kubeconfig"), 0o600, kubeconfig(host, &user).as_bytes()),
            node(
                "node-dnsmasq.conf",
                0o644,
                b"server=/in-addr.arpa/127.0.0.1\nserver=/cluster.local/127.0.0.1\n",
            ),
            node("resolv.conf", 0o644, b"nameserver 10.99.0.2\nsearch lab.test\n"),
            sysconfig(
                "atomic-openshift-node",
                "OPTIONS=--loglevel=2\nCONFIG_FILE=/etc/origin/node/node-config.yaml",
            ),
            sysconfig("docker", "OPTIONS='--selinux-enabled --log-driver=journald'"),
            sysconfig("docker-storage", "DOCKER_STORAGE_OPTIONS=--storage-driver overlay2"),
            HostFile::new("/etc/sysconfig/iptables", 0o600, IPTABLES),
            HostFile::new("/etc/dnsmasq.conf", 0o644, "conf-dir=/etc/dnsmasq.d\n"),
            HostFile::new(
                "/etc/dnsmasq.d/origin-dns.conf",
                0o644,
                "no-resolv\ndomain-needed\nmax-cache-ttl=1\n",
            ),
            HostFile::new(
                "/etc/pki/ca-trust/source/anchors/openshift-ca.crt",
                0o644,
                ca.certificate.as_slice(),
            ),
            root_cron(host),
        ])
    }

    fn master_config(&self, host: &Host) -> String {
        format!(
            "apiVersion: v1\nkind: MasterConfig\nkubernetesMasterConfig:\n  masterIP: {address}\n  apiServerArguments:\n    \
             storage-backend:\n    - etcd3\netcdClientInfo:\n  ca: master.etcd-ca.crt\n  certFile: master.etcd-client.crt\n  \
             keyFile: master.etcd-client.key\n  urls:\n{urls}etcdStorageConfig:\n  kubernetesStoragePrefix: kubernetes.io\n  \
             openShiftStoragePrefix: openshift.io\nmasterPublicURL: https://{name}:8443\nserviceAccountConfig:\n  \
             privateKeyFile: serviceaccounts.private.key\n  publicKeyFiles:\n  - serviceaccounts.public.key\nservingInfo:\n  \
             bindAddress: 0.0.0.0:8443\n  certFile: master.server.crt\n  clientCA: ca.crt\n  keyFile: master.server.key\n",
            address = host.address(),
            urls = self.etcd_urls,
            name = host.name,
        )
    }
}

fn inventory(lab: &Lab) -> String {
    let group = |title: &str, role| {
        let names: String = lab.with(role).iter().map(|host| format!("{}\n", host.name)).collect();
        format!("[{title}]\n{names}\n")
    };
    [
        "[OSEv3:children]\nmasters\netcd\nnodes\n\n[OSEv3:vars]\nansible_ssh_user=root\nopenshift_deployment_type=openshift-enterprise\n\n",
        &group("masters", Role::Master),
        &group("etcd", Role::Etcd),
        group("nodes", Role::Node).trim_end(),
        "\n",
        group("agentless", Role::Agentless).trim_start_matches("[agentless]\n"),
    ]
    .concat()
}

fn node_config(host: &Host) -> String {
    format!(
        "apiVersion: v1\nkind: NodeConfig\nnodeName: {name}\nnodeIP: {address}\ndnsIP: {address}\ndnsDomain: cluster.local\n\
         masterKubeConfig: system:node:{name}.kubeconfig\nnetworkConfig:\n  mtu: 1450\n  networkPluginName: \
         redhat/openshift-ovs-multitenant\nservingInfo:\n  bindAddress: 0.0.0.0:10250\n  certFile: server.crt\n  clientCA: \
         ca.crt\n  keyFile: server.key\nvolumeDirectory: /var/lib/origin/openshift.local.volumes\n",
        name = host.name,
        address = host.address(),
    )
}

fn kubeconfig(host: &Host, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: lab\n  cluster:\n    certificate-authority: ca.crt\n    server: \
         https://{name}:8443\ncontexts:\n- name: default\n  context:\n    cluster: lab\n    user: {user}\ncurrent-context: \
         default\nusers:\n- name: {user}\n  user:\n    client-certificate: {user}.crt\n    client-key: {user}.key\n",
        name = host.name,
    )
}

fn sysconfig(name: &str, text: &str) -> HostFile {
    HostFile::new(format!("/etc/sysconfig/{name}"), 0o644, format!("{text}\n"))
}

fn root_cron(host: &Host) -> HostFile {
    let text = format!("MAILTO=root\n# {}\n17 3 * * * /usr/sbin/logrotate /etc/logrotate.conf\n", host.name);
    HostFile::new("/var/spool/cron/root", 0o600, text)
}

const POLICY: &[u8] = br#"{"apiVersion": "v1", "kind": "Policy", "predicates": [], "priorities": []}
"#;
const SCHEDULER: &[u8] = br#"{"apiVersion": "v1", "kind": "Policy", "predicates": [{"name": "NoDiskConflict"}], "priorities": [{"name": "LeastRequestedPriority", "weight": 1}]}
"#;
const HTPASSWD: &[u8] = b"operator:$apr1$sPfmyEUf$YnMHNkF9wVvaKmmKAEPlr/\n";
const SESSION_SECRETS: &[u8] = b"apiVersion: v1\nkind: SessionSecrets\nsecrets:\n- authentication: bm90IGEgcmVhbCBzZWNyZXQ=\n  encryption: bm90IGEgcmVhbCBzZWNyZXQ=\n";
const IPTABLES: &str = "*filter\n:INPUT ACCEPT [0:0]\n:OS_FIREWALL_ALLOW - [0:0]\n-A INPUT -j OS_FIREWALL_ALLOW\n-A OS_FIREWALL_ALLOW -p tcp -m tcp --dport 8443 -j ACCEPT\nCOMMIT\n";
