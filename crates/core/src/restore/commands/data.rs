//! How the members' data is made by hand.

use std::fmt;

use crate::restore::Plan;
use crate::restore::copy::{CopyKind, EtcdCopy};
use crate::restore::etcd::{BUMP, EtcdPlan, Member};
use crate::shell::word;

/// Where a scratch etcd is reached: a socket in this directory, which only its owner can enter. It serves every secret of the cluster.
const SCRATCH: &str = "unix://by-hand:1";

/// The copy is unpacked once, and each member's data is made of it with one description of the cluster.
pub fn write(f: &mut fmt::Formatter<'_>, plan: &Plan, etcd: &EtcdPlan) -> fmt::Result {
    let copy = &etcd.copy;
    match (copy.kind, etcd.members.first()) {
        (_, Some(first)) if copy.v2 => {
            f.write_str("\n# the data of the first member; the others join it\n")?;
            start(f, copy)?;
            writeln!(
                f,
                "id=$(etcdctl --endpoints {SCRATCH} member list | cut -d, -f1) && \
                 etcdctl --endpoints {SCRATCH} member update \"$id\" --peer-urls={}",
                word(&first.peer_urls)
            )?;
            stop(f)?;
            return writeln!(f, "mv by-hand-copy by-hand-{}", first.host);
        }
        (CopyKind::Snapshot, _) => {
            f.write_str("\n# the data of all members, from the one snapshot\n")?;
            writeln!(f, "{} {} > by-hand.db", unpacker(copy), path(copy))?;
            writeln!(f, "echo '{}  by-hand.db' | sha256sum -c -", copy.sha256)?;
        }
        _ => {
            f.write_str("\n# the data of all members, from one snapshot of the stopped member's data\n")?;
            start(f, copy)?;
            writeln!(f, "etcdctl --endpoints {SCRATCH} snapshot save by-hand.db")?;
            stop(f)?;
        }
    }
    etcd.members.iter().try_for_each(|member| restore(f, plan, etcd, member))
}

fn restore(f: &mut fmt::Formatter<'_>, plan: &Plan, etcd: &EtcdPlan, member: &Member) -> fmt::Result {
    writeln!(
        f,
        "etcdutl snapshot restore by-hand.db --data-dir by-hand-{} --name {} --initial-cluster {} --initial-advertise-peer-urls {} \
         --initial-cluster-token nightshift-{} --bump-revision {BUMP} --mark-compacted",
        member.host,
        word(&member.name),
        word(&etcd.initial_cluster()),
        word(&member.peer_urls),
        plan.id
    )
}

/// An etcd of the member's version is started on the data, alone, as a new cluster.
fn start(f: &mut fmt::Formatter<'_>, copy: &EtcdCopy) -> fmt::Result {
    writeln!(f, "etcd --version   # needs {}, the version of the member", copy.version)?;
    match copy.kind {
        CopyKind::V2Backup => writeln!(f, "mkdir by-hand-copy && cp -R {}/member by-hand-copy/", path(copy))?,
        CopyKind::Survivor => {
            writeln!(f, "echo '{}  {}' | sha256sum -c -", copy.sha256, path(copy))?;
            writeln!(f, "mkdir by-hand-copy && tar -C by-hand-copy -xf {}", path(copy))?;
        }
        CopyKind::ColdCopy | CopyKind::Snapshot => {
            writeln!(f, "[ \"$({} {} | sha256sum)\" = '{}  -' ]", unpacker(copy), path(copy), copy.sha256)?;
            writeln!(
                f,
                "mkdir by-hand-copy && {} {} | tar -C by-hand-copy -xf -",
                unpacker(copy),
                path(copy)
            )?;
        }
    }
    writeln!(
        f,
        "ETCD_ENABLE_V2=true etcd --data-dir by-hand-copy --force-new-cluster --listen-client-urls {SCRATCH} --advertise-client-urls http://by-hand:1 \
         --listen-peer-urls unix://by-hand:2 --initial-advertise-peer-urls http://by-hand:2 --initial-cluster default=http://by-hand:2 & etcd=$!\n\
         export ETCDCTL_API=3; timeout 60 sh -c 'until etcdctl --endpoints {SCRATCH} endpoint health; do sleep 1; done'"
    )
}

fn stop(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("kill $etcd; wait $etcd || true\n")
}

fn unpacker(copy: &EtcdCopy) -> &'static str {
    if copy.item.ends_with(".zst") { "zstd -dc" } else { "gzip -dc" }
}

fn path(copy: &EtcdCopy) -> String {
    word(&format!("sets/{}/{}/{}", copy.set.host, copy.set.dir_name(), copy.item))
}
