//! The steps on the hosts: stop, etcd, files, start.

use std::fmt;

use super::member::Member;
use super::shell::{block, is_word, on, title};
use super::subject::ByHand;
use crate::etcd_facts::RunsAs;
use crate::restore::etcd::BUMP;
use crate::restore::units::{API, CONTROLLERS};
use crate::role::Role;
use crate::system::{ControlPlane, KUBEADM_PODS, OPENSHIFT_PODS};

/// Restores the files of a set on its host, by the manifest in the current directory.
pub const PUT_FILES: &str = include_str!("put_files.py");
/// Where the manifests of static pods are while the pods are stopped.
const STOPPED: &str = "-stopped";

impl ByHand<'_> {
    fn hosts(&self, role: Role) -> impl Iterator<Item = &str> {
        let hosts = self.settings.inventory.with_role(role);
        hosts.map(|host| host.name.as_str()).filter(|name| is_word(name))
    }

    /// The directory of the masters' static pods.
    const fn pods(&self) -> Option<&'static str> {
        match self.control_plane {
            Some(ControlPlane::StaticPods) => Some(OPENSHIFT_PODS),
            Some(ControlPlane::Kubeadm) => Some(KUBEADM_PODS),
            Some(ControlPlane::Services) | None => None,
        }
    }

    pub(super) fn stop(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "3. Stop the control plane, then etcd")?;
        let masters = self.hosts(Role::Master).map(|host| on(host, &self.stop_master()));
        let members = self.members.iter().flat_map(|member| [stop(member), closed(member)]);
        block(f, "stop", &masters.chain(members).collect::<Vec<_>>())?;
        f.write_str("The last command of each member waits until nothing listens on its ports.\n")
    }

    fn stop_master(&self) -> String {
        match self.pods() {
            Some(pods) => format!(
                "mkdir -p {pods}{STOPPED}; find {pods} -maxdepth 1 -name \"*.yaml\" -exec mv -t {pods}{STOPPED} {{}} +"
            ),
            // Each host has one of the names.
            None => format!(
                "for unit in {} {}; do systemctl stop $unit 2>/dev/null || true; done",
                CONTROLLERS.join(" "),
                API.join(" ")
            ),
        }
    }

    pub(super) fn etcd(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "4. etcd: the data of the one snapshot on every member, then all members together")?;
        if self.members.is_empty() {
            return f.write_str("No manifest lists the members: see \"The cluster\".\n");
        }
        let initial = |member: &Member| {
            let urls = member.peer_urls.split(',').map(|url| format!("{}={url}", member.name));
            urls.collect::<Vec<_>>().join(",")
        };
        let cluster = self.members.iter().map(initial).collect::<Vec<_>>().join(",");
        let token = "TOKEN=restored-$(date +%Y%m%d%H%M%S)".to_owned();
        let made = self.members.iter().map(make);
        let lines: Vec<String> = [token, format!("CLUSTER={cluster}")].into_iter().chain(made).collect();
        block(f, "data", &lines)?;
        f.write_str(
            "A token of its own keeps members of the old cluster out. The raised revision makes clients that watch from an\n\
             old revision start over; without it they miss changes without an error. Never use --skip-hash-check.\n\n",
        )?;
        let put: Vec<String> = self.members.iter().map(put).collect();
        block(f, "put", &put)?;
        f.write_str(
            "The data that was there stays beside it. On a new machine, restore the files of the etcd set now (5.), and only\n\
             then start etcd. Each member waits for the others.\n\n",
        )?;
        let start: Vec<String> = self.members.iter().map(start).collect();
        block(f, "start-etcd", &start)?;
        f.write_str("\nHealth alone proves nothing: write through every member.\n\n")?;
        let write = self.members.iter().flat_map(write_through);
        let all: Vec<&str> = self.members.iter().map(|member| member.client_url.as_str()).collect();
        let first = self.members.first().map(Member::client_options).unwrap_or_default();
        let every = first.replacen(&self.members[0].client_url, &all.join(","), 1);
        let compare = [
            format!("ETCDCTL_API=3 etcdctl {every} endpoint status"),
            format!("ETCDCTL_API=3 etcdctl {every} alarm list"),
        ];
        block(f, "write", &write.chain(compare).collect::<Vec<_>>())?;
        f.write_str(
            "The revision must be the same on all, and from etcd 3.3 on also what `etcdctl endpoint hashkv` prints. If an\n\
             alarm is listed, NOSPACE or one of before: etcdctl alarm disarm.\n",
        )
    }

    pub(super) fn files(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "5. Files: of nodes, then of masters")?;
        f.write_str(
            "For each host and set, also HOST/etcd on a new machine of a member. python3, or any python from 2.7 on.\n\
             Existing files are moved to /root/before-restore.\n\n",
        )?;
        let mut lines = vec!["cat > put_files.py <<\"PY\"".to_owned()];
        lines.extend(PUT_FILES.lines().map(str::to_owned));
        lines.push("PY".to_owned());
        block(f, "program", &lines)?;
        f.write_str("\nIts argument is \"\" on the host itself, or a directory to look at first.\n\n")?;
        let sets = [Role::Node, Role::Master].into_iter().flat_map(|role| {
            self.hosts(role).flat_map(move |host| {
                [
                    format!("tar -C {host}/{role} -cf - . | ssh root@{host} 'umask 077; mkdir -p /root/set-{role}; tar -C /root/set-{role} -xf -'"),
                    format!("ssh root@{host} 'cd /root/set-{role}; python3 - \"\"' < put_files.py"),
                ]
            })
        });
        block(f, "files", &sets.collect::<Vec<_>>())?;
        f.write_str(
            "Where SELinux is used: restorecon -R /etc/origin /etc/etcd /etc/kubernetes /etc/sysconfig. Remove /root/set-* again.\n",
        )
    }

    pub(super) fn start(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        title(f, "6. Start the control plane, then the nodes")?;
        let masters = self.hosts(Role::Master).map(|host| {
            let command = match self.pods() {
                Some(pods) => format!("find {pods}{STOPPED} -name \"*.yaml\" -exec mv -t {pods} {{}} +"),
                None => format!(
                    "for unit in {} {}; do systemctl start $unit 2>/dev/null || true; done",
                    API.join(" "),
                    CONTROLLERS.join(" ")
                ),
            };
            on(host, &command)
        });
        block(f, "start", &masters.collect::<Vec<_>>())?;
        f.write_str(
            "Then on every node: systemctl restart atomic-openshift-node (origin-node; kubelet). oc get nodes, or kubectl get\n\
             nodes, shows when they are ready.\n",
        )
    }
}

fn stop(member: &Member) -> String {
    let command = match &member.runs {
        RunsAs::Unit(unit) => format!("systemctl stop {unit}"),
        // Outside the directory that the kubelet watches.
        RunsAs::StaticPod(manifest) => {
            format!("if test -e {manifest}; then mv {manifest} {}; fi", aside(manifest))
        }
    };
    on(&member.host, &command)
}

fn aside(manifest: &str) -> String {
    let directory = manifest.rsplit_once('/').map_or("", |(directory, _)| directory);
    format!("{directory}{STOPPED}.etcd.yaml")
}

fn closed(member: &Member) -> String {
    let ports = member.ports().join("|");
    on(
        &member.host,
        &format!(
            "for n in $(seq 60); do ss -ltn | grep -qE \":({ports}) \" || exit 0; sleep 2; done; exit 1"
        ),
    )
}

/// Makes the data of a member on the operator's machine.
fn make(member: &Member) -> String {
    let Member { host, name, peer_urls, .. } = member;
    format!(
        "etcdutl snapshot restore snapshot.db --data-dir data-{host} --name {name} --initial-advertise-peer-urls {peer_urls} \
         --initial-cluster \"$CLUSTER\" --initial-cluster-token \"$TOKEN\" --bump-revision {BUMP} --mark-compacted"
    )
}

/// Puts it in place. The data directory itself may be a mount point.
fn put(member: &Member) -> String {
    let Member { host, data, owner, wal, .. } = member;
    let wal = wal.as_ref().map(|wal| {
        format!(
            "mkdir -p {wal}/before-restore.$NOW; find {wal} -maxdepth 1 -name \"*.wal\" -exec mv -t {wal}/before-restore.$NOW {{}} +; \
             mv {data}/member/wal/* {wal}/; rmdir {data}/member/wal; chown -R {owner} {wal}; "
        )
    });
    let wal = wal.unwrap_or_default();
    let command = format!(
        "set -e; NOW=$(date +%s); mkdir -p {data}; \
         if test -e {data}/member; then mv {data}/member {data}/member.before-restore.$NOW; fi; \
         tar -C {data} -xf -; {wal}chown -R {owner} {data}/member; chown {owner} {data}; chmod 0700 {data} {data}/member; \
         if command -v restorecon >/dev/null; then restorecon -R {data}; fi"
    );
    format!("tar -C data-{host} -cf - member | {}", on(host, &command))
}

fn start(member: &Member) -> String {
    let command = match &member.runs {
        RunsAs::Unit(unit) => format!("systemctl start --no-block {unit}"),
        RunsAs::StaticPod(manifest) => format!("if test -e {0}; then mv {0} {manifest}; fi", aside(manifest)),
    };
    on(&member.host, &command)
}

fn write_through(member: &Member) -> [String; 2] {
    let (options, name) = (member.client_options(), &member.name);
    let etcdctl = format!("ETCDCTL_API=3 etcdctl {options}");
    [
        format!("for n in $(seq 60); do if {etcdctl} endpoint health; then break; fi; sleep 2; done"),
        format!(
            "{etcdctl} put nightshift-canary-{name} 1 && {etcdctl} get nightshift-canary-{name} && {etcdctl} del nightshift-canary-{name}"
        ),
    ]
}
