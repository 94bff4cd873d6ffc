//! A real etcd cluster over TLS on hosts of the lab, its files where OpenShift's installer lays them.

use std::process::Stdio;
use std::time::Duration;

use super::cluster::Lab;
use super::cmd::{Running, poll, side_by_side};
use super::error::{Error, Result};
use super::host::Host;
use super::inside::HostFile;
use super::topology::Role;
use crate::etcd::Release;
use crate::pki::Authority;

/// Masters have their clients' certificates from it too.
pub(super) const AUTHORITY: &str = "etcd-signer";
const HEALTHY: Duration = Duration::from_secs(60);
/// One value of `fill`, before etcd's own request limit of 1.5 MiB.
const FILL_VALUE: u64 = 1024 * 1024;
const FILL: Duration = Duration::from_secs(900);

/// Puts small objects for ever, sixteen to a transaction, under the keys Kubernetes uses; some are written again.
const WRITE_LOAD: &str = r#"
round=0
while :; do
    { echo
      for object in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
          echo "put /kubernetes.io/configmaps/load/object-$((round % 500))-$object 'round $round of the write load'"
      done
      echo; echo
    } | etcdctl --endpoints="$member" txn > /dev/null || sleep 0.2
    round=$((round + 1))
done
"#;

pub struct EtcdCluster<'lab> {
    members: Vec<&'lab Host>,
}

impl<'lab> EtcdCluster<'lab> {
    /// Makes one cluster of the lab's etcd hosts, and waits until every member takes part.
    pub fn found(lab: &'lab Lab) -> Result<Self> {
        Self::found_of(lab, &Release::default())
    }

    /// The same, of a release.
    pub fn found_of(lab: &'lab Lab, release: &Release) -> Result<Self> {
        let members = lab.with(Role::Etcd);
        let authority = Authority::of_lab(lab, AUTHORITY)?;
        let peers: Vec<String> =
            members.iter().map(|host| format!("{}={}", host.name, peer_url(host))).collect();
        let initial_cluster = peers.join(",");
        side_by_side(&members, |host| {
            host.write_files(&member_files(host, &authority, &initial_cluster)?)?;
            host.run("chown etcd:etcd /etc/etcd /var/lib/etcd && chmod 0700 /var/lib/etcd")?;
            use_release(host, release)?;
            host.systemctl("enable --quiet etcd.service")?;
            // It reports ready only when there is a leader, so the members must start side by side.
            host.systemctl("start etcd.service")
        })?;
        let cluster = Self::of(lab);
        cluster.wait_healthy()?;
        Ok(cluster)
    }

    /// The cluster that was founded in this lab.
    pub fn of(lab: &'lab Lab) -> Self {
        Self { members: lab.with(Role::Etcd) }
    }

    pub fn members(&self) -> &[&'lab Host] {
        &self.members
    }

    /// Waits until every member commits a proposal.
    pub fn wait_healthy(&self) -> Result<()> {
        let all = self.members.iter().map(|host| client_url(host)).collect::<Vec<_>>().join(",");
        poll("etcd's health", HEALTHY, || {
            etcdctl(self.members[0], &all, "endpoint health").map_err(|error| error.to_string())
        })
        .map(drop)
    }

    /// Runs etcdctl on a member and against it.
    pub fn etcdctl(&self, on: &Host, words: &str) -> Result<String> {
        etcdctl(on, &client_url(on), words)
    }

    /// Runs etcdctl on a member and against it, in words of the v2 API.
    pub fn etcdctl2(&self, on: &Host, words: &str) -> Result<String> {
        let line = format!(
            "ETCDCTL_API=2 etcdctl --ca-file=/etc/etcd/ca.crt --cert-file=/etc/etcd/peer.crt \
             --key-file=/etc/etcd/peer.key --endpoints={} {words}",
            client_url(on)
        );
        Ok(on.run(&line)?.text())
    }

    /// Writes without a pause through this member until the handle is dropped: some hundred objects a second.
    pub fn write_load(&self, on: &Host) -> Result<Running> {
        on.spawn(&format!("{}\n{WRITE_LOAD}", environment(on)), Stdio::null())
    }

    /// Puts as many bytes of base64 text, which compresses to three quarters, as a database of that size holds.
    pub fn fill(&self, on: &Host, bytes: u64) -> Result<()> {
        let values = bytes.div_ceil(FILL_VALUE);
        let raw = FILL_VALUE / 4 * 3;
        let line = format!(
            "{}\nset -e\nfor value in $(seq {values}); do\n\
             head -c {raw} /dev/urandom | base64 -w0 | etcdctl --endpoints=\"$member\" put /kubernetes.io/secrets/fill/$value > /dev/null\ndone",
            environment(on)
        );
        on.run_for(&line, FILL).map(drop)
    }

    /// The revision a member has reached.
    pub fn revision(&self, on: &Host) -> Result<i64> {
        let text = self.etcdctl(on, "--write-out=json endpoint status")?;
        (serde_json::from_str::<serde_json::Value>(&text).ok())
            .and_then(|status| status.pointer("/0/Status/header/revision")?.as_i64())
            .ok_or_else(|| Error::Refused(format!("etcdctl gave no revision: {text}")))
    }
}

/// The programs of a release in place of the installed ones.
fn use_release(host: &Host, release: &Release) -> Result<()> {
    if release.folder().is_none() {
        return Ok(());
    }
    ["etcd", "etcdctl", "etcdutl"].into_iter().try_for_each(|name| {
        let path = format!("/usr/bin/{name}");
        host.push(&release.program(name), &path)?;
        host.run(&format!("chmod 0755 {path}")).map(drop)
    })
}

fn member_files(host: &Host, authority: &Authority, initial_cluster: &str) -> Result<Vec<HostFile>> {
    let names = format!("DNS:{},DNS:{},IP:{}", host.name, host.short_name(), host.address());
    let subject = format!("/CN={}", host.name);
    let issue = |kind: &str| authority.issue(&format!("{}-{kind}", host.short_name()), &subject, &names);
    let (server, peer) = (issue("server")?, issue("peer")?);
    let conf = etcd_conf(host, initial_cluster);
    let file = |name: &str, mode, content| {
        HostFile::new(format!("/etc/etcd/{name}"), mode, content).owned_by("etcd:etcd")
    };
    Ok(vec![
        file("ca.crt", 0o600, authority.pair()?.certificate),
        file("server.crt", 0o600, server.certificate),
        file("server.key", 0o600, server.key),
        file("peer.crt", 0o600, peer.certificate),
        file("peer.key", 0o600, peer.key),
        HostFile::new("/etc/etcd/etcd.conf", 0o644, conf),
    ])
}

fn etcd_conf(host: &Host, initial_cluster: &str) -> String {
    let (name, client, peer) = (&host.name, client_url(host), peer_url(host));
    format!(
        "ETCD_NAME={name}\n\
         ETCD_LISTEN_PEER_URLS={peer}\n\
         ETCD_DATA_DIR=/var/lib/etcd/\n\
         ETCD_HEARTBEAT_INTERVAL=500\n\
         ETCD_ELECTION_TIMEOUT=2500\n\
         ETCD_LISTEN_CLIENT_URLS={client}\n\
         \n\
         #[cluster]\n\
         ETCD_INITIAL_ADVERTISE_PEER_URLS={peer}\n\
         ETCD_INITIAL_CLUSTER={initial_cluster}\n\
         ETCD_INITIAL_CLUSTER_STATE=new\n\
         ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster-1\n\
         ETCD_ADVERTISE_CLIENT_URLS={client}\n\
         ETCD_QUOTA_BACKEND_BYTES=4294967296\n\
         ETCD_ENABLE_V2=true\n\
         \n\
         #[security]\n\
         ETCD_TRUSTED_CA_FILE=/etc/etcd/ca.crt\n\
         ETCD_CLIENT_CERT_AUTH=true\n\
         ETCD_CERT_FILE=/etc/etcd/server.crt\n\
         ETCD_KEY_FILE=/etc/etcd/server.key\n\
         ETCD_PEER_TRUSTED_CA_FILE=/etc/etcd/ca.crt\n\
         ETCD_PEER_CLIENT_CERT_AUTH=true\n\
         ETCD_PEER_CERT_FILE=/etc/etcd/peer.crt\n\
         ETCD_PEER_KEY_FILE=/etc/etcd/peer.key\n"
    )
}

fn etcdctl(on: &Host, endpoints: &str, words: &str) -> Result<String> {
    Ok(on.run(&format!("{}\netcdctl --endpoints={endpoints} {words}", environment(on)))?.text())
}

/// For shell lines on a member. The endpoint is no ETCDCTL_ variable: etcdctl refuses one beside its flag.
fn environment(host: &Host) -> String {
    format!(
        "member={}; export ETCDCTL_API=3 ETCDCTL_CACERT=/etc/etcd/ca.crt \
         ETCDCTL_CERT=/etc/etcd/peer.crt ETCDCTL_KEY=/etc/etcd/peer.key",
        client_url(host)
    )
}

fn client_url(host: &Host) -> String {
    format!("https://{}:2379", host.address())
}

fn peer_url(host: &Host) -> String {
    format!("https://{}:2380", host.address())
}
