#![allow(clippy::unwrap_used)]
use nightshift_core::digest::Digest;
use nightshift_core::etcd_facts::DataDirectory;
use nightshift_core::owner::Owner;
use nightshift_core::restore::act::DataFacts;
use nightshift_core::restore::copy::{CopyKind, EtcdCopy};
use nightshift_core::restore::etcd::{EtcdPlan, Member};
use nightshift_core::text::Lines;

use super::*;
use crate::data::MemberData;

const NOW: i64 = 1_800_000_000;
const SIZE: u64 = 1 << 30;

fn plan() -> Plan {
    let host: HostName = "e1.example.com".parse().unwrap();
    let owner = Owner { uid: 0, gid: 0, user: Some("etcd".into()), group: None };
    let member = Member {
        host: host.clone(),
        set: "e1.example.com/2026-11-28/etcd".parse().unwrap(),
        name: "e1".into(),
        peer_urls: "https://e1.example.com:2380".into(),
        client_url: "https://e1.example.com:2379".into(),
        runs: RunsAs::Unit("etcd.service".into()),
        data: DataDirectory { path: "/var/lib/etcd".into(), owner, mode: 0o700, selinux: None },
        tls: None,
    };
    let copy = EtcdCopy {
        kind: CopyKind::Snapshot,
        v2: false,
        set: member.set.clone(),
        item: "snapshot.db.gz".into(),
        sha256: Digest::of(b""),
        size: SIZE,
        revision: 5,
        version: "3.4.23".into(),
    };
    let machine = Machine {
        host,
        address: "10.0.0.1".into(),
        port: 22,
        roles: vec![Role::Etcd],
        agentless: false,
        system: None,
        pods: None,
        files: Vec::new(),
    };
    Plan {
        format: 1,
        id: "2026-11-28-00000001".parse().unwrap(),
        cluster: "prod".parse().unwrap(),
        made_at: Timestamp::UNIX_EPOCH,
        scope: nightshift_core::restore::scope::Scope::Cluster,
        source: "x".into(),
        signed: "x".into(),
        remotes: Vec::new(),
        etcd: Some(EtcdPlan { copy, members: vec![member] }),
        joins: Vec::new(),
        machines: vec![machine],
        others: Vec::new(),
        findings: Vec::new(),
    }
}

/// A machine that is ready.
fn facts() -> Facts {
    let unit = |name: &str, active| UnitFacts { name: name.into(), exists: true, active, enabled: false };
    Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        hostname: "e1".into(),
        machine_id: None,
        os: "centos 7".into(),
        architecture: "x86_64".into(),
        now: Timestamp::from_second(NOW).unwrap(),
        is_root: true,
        units: vec![unit("etcd.service", false)],
        manifests: Vec::new(),
        data: vec![DataFacts {
            path: "/var/lib/etcd".into(),
            exists: true,
            has_member: false,
            in_use: false,
            markers: Lines::default(),
        }],
        etcd: Some("3.4.23".into()),
        space: vec![SIZE, 3 * SIZE],
        unknown: Lines::default(),
        plan: None,
    }
}

/// Why the machine is not ready.
fn reasons(change: impl Fn(&mut Facts)) -> String {
    let plan = plan();
    let mut facts = facts();
    change(&mut facts);
    let machine = &plan.machines[0];
    let made = MemberData { size: SIZE, sha256: Digest::of(b"") };
    let data = Data { revision: 1, tools: "etcdutl".into(), members: [(machine.host.clone(), made)].into() };
    let mut found = Found::of(&machine.host);
    let now = Timestamp::from_second(NOW).unwrap();
    judge(&mut found, &plan, machine, Some(&data), &facts, now, now);
    found.reasons.join("; ")
}

#[test]
fn a_machine_that_is_not_ready_is_refused_with_what_to_do() {
    assert_eq!(reasons(|_| {}), "");
    let contains = |change: &dyn Fn(&mut Facts), part: &str| {
        let reasons = reasons(change);
        assert!(reasons.contains(part), "{part}: {reasons}");
    };
    contains(
        &|facts| facts.space[1] = SIZE,
        "/var/lib/etcd: 1.0 GiB are free, but 2.0 GiB are needed; make space",
    );
    contains(&|facts| facts.space[0] = 1, "/etc: 1 B are free");
    contains(&|facts| facts.data[0].in_use = true, "etcd runs there outside of its unit");
    for seconds in [-61, 61] {
        let off = Timestamp::from_second(NOW + seconds).unwrap();
        contains(&|facts| facts.now = off, "more than 60 s apart; set it");
    }
    contains(
        &|facts| facts.etcd = Some("3.3.11".into()),
        "etcd 3.3.11 is older than that of the copy (3.4.23); install",
    );
    contains(&|facts| facts.is_root = false, "the login is not root");
    contains(&|facts| facts.version = "0.0.1".into(), "install the same version on both");
    contains(&|facts| facts.hostname = "e2".into(), "its host name is e2");
    contains(&|facts| facts.units.clear(), "none of these units is installed: etcd.service");
    contains(
        &|facts| facts.unknown = ["etcd"].into_iter().collect(),
        "users or groups that do not exist: etcd",
    );
    contains(
        &|facts| facts.data[0].markers = ["x"].into_iter().collect(),
        "a cold copy has stopped the member",
    );
    contains(
        &|facts| facts.plan = Some("2026-11-27-00000002".parse().unwrap()),
        "the restore 2026-11-27-00000002 is not finished there",
    );
}

#[test]
fn an_etcd_that_its_unit_runs_is_stopped_later_and_only_named() {
    let running = |facts: &mut Facts| {
        facts.units[0].active = true;
        facts.data[0].in_use = true;
    };
    assert_eq!(reasons(running), "");
    assert_eq!(reasons(|facts| facts.etcd = Some("3.5.9".into())), "", "a newer one starts on the data");
}
