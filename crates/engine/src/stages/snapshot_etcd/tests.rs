#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods)]
//! The stage with real etcd members on loopback.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kit::etcd::Etcd;
use kit::proxy::Proxy;
use nightshift_core::etcd_facts::AgreementState;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{Proof, Statement};
use nightshift_core::record::{Fate, SetReport, StartReason, Step};
use nightshift_core::set_path::SetId;
use nightshift_core::settings::{EtcdData, EtcdMembers, Settings};
use nightshift_core::stage::Stage;
use nightshift_store::{Judged, Vault};

use super::*;
use crate::stages::stored_sets;
use crate::testing;
use support::Writer;

#[allow(dead_code)] // the etcd crate uses the rest of it
#[path = "../../../../etcd/tests/it/support/writer.rs"]
mod support;

const NIGHT: &str = "2026-11-22";

/// The end of a stage that made a good set.
fn made() -> StageEnd {
    StageEnd { gained: true, ..StageEnd::done() }
}

async fn run(ctx: &StageContext) -> StageEnd {
    super::run(ctx).await.unwrap_or_else(StageEnd::from)
}

/// The etcd host whose member answers at `url`, with a vault of its own below `dir`.
fn host(dir: &Path, name: &str, night: &str, url: &str, change: impl Fn(&mut StageContext)) -> StageContext {
    let hosts = ["e1", "e2", "e3"].map(|name| testing::host(name, Role::Etcd)).to_vec();
    let mut settings = testing::settings(&dir.join(name), hosts);
    settings.this = name.parse().unwrap();
    settings.etcd.endpoint = Some(url.to_owned());
    settings.etcd.stall = Duration::from_secs(20);
    settings.etcd.deadline = Duration::from_secs(60);
    let mut ctx = testing::context(settings, night, Stage::SnapshotEtcd);
    change(&mut ctx);
    ctx
}

/// Runs all three hosts' stages at the same time.
async fn night(
    dir: &Path,
    members: &[Etcd],
    night: &str,
    change: impl Fn(&mut StageContext),
) -> Vec<(StageContext, StageEnd)> {
    let runs = members.iter().enumerate().map(|(at, member)| {
        let ctx = host(dir, &format!("e{}", at + 1), night, &member.url, &change);
        async {
            let end = run(&ctx).await;
            (ctx, end)
        }
    });
    join_all(runs).await
}

fn judged(ctx: &StageContext) -> Option<Judged> {
    ctx.vault.best(&ctx.settings.this, ctx.night, Role::Etcd)
}

async fn put(etcd: &Etcd, key: &str, value: &[u8]) {
    Writer::connect(&etcd.url).await.put(key, value.to_vec()).await.unwrap();
}

/// Copies a set to a master's vault, like a pull.
fn pull(master: &Vault, from: &StageContext) -> SetId {
    let set = judged(from).unwrap().manifest.id();
    let there = master.directory(&set);
    std::fs::create_dir_all(&there).unwrap();
    for entry in std::fs::read_dir(from.vault.directory(&set)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), there.join(entry.file_name())).unwrap();
    }
    set
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_damaged_on_its_way_is_kept_as_evidence_and_the_next_attempt_is_good() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    const MARK: &[u8] = b"the bit to flip is in here";
    let (dir, etcd) = (tempfile::tempdir().unwrap(), Etcd::start("alone", &[]).unwrap());
    put(&etcd, "/registry/marked", &MARK.repeat(100)).await;
    let proxy = Proxy::to(etcd.port).unwrap();
    proxy.flip(MARK);
    let ctx = host(dir.path(), "e1", NIGHT, &proxy.url(), |_| {});
    let end = run(&ctx).await;
    assert_eq!(end, made());
    let sets = ctx.vault.sets().unwrap();
    let grades: Vec<(String, Grade)> =
        sets.iter().map(|set| (set.dir_name(), ctx.vault.judge(set).unwrap().grade)).collect();
    assert_eq!(grades, [("etcd".to_owned(), Grade::Bad), ("etcd.2".to_owned(), Grade::Good)]);
    let evidence = ctx.vault.manifest(&sets[0]).unwrap();
    assert!(evidence.notes[0].starts_with("snapshot.db.gz: "), "{:?}", evidence.notes);
    let best = judged(&ctx).unwrap().manifest;
    assert_eq!(best.attempt, 2);
    assert_eq!(ctx.record.record().unwrap().best_set(&ctx.settings.this, Role::Etcd).unwrap().set, best.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_sends_a_damaged_snapshot_twice_is_not_queried_a_third_time() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    const MARK: &[u8] = b"this one is flipped each time";
    let (dir, etcd) = (tempfile::tempdir().unwrap(), Etcd::start("alone", &[]).unwrap());
    put(&etcd, "/registry/marked", &MARK.repeat(100)).await;
    let proxy = Proxy::to(etcd.port).unwrap();
    proxy.flip_each(MARK);
    let ctx = host(dir.path(), "e1", NIGHT, &proxy.url(), |_| {});
    let end = run(&ctx).await;
    assert_eq!((end.outcome, end.retry), (Outcome::Failed, false), "{end:?}");
    assert_eq!(ctx.vault.sets().unwrap().len(), 2);
    assert_eq!(judged(&ctx).unwrap().grade, Grade::Bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_of_a_member_that_diverged_is_marked_wherever_the_agreement_is_known() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let (dir, mut members) =
        (tempfile::tempdir().unwrap(), Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap());
    put(&members[0], "/registry/secrets/one", b"what all members hold").await;
    for member in &members {
        kit::eventually("it has the key", || {
            member.etcdctl(&["get", "/registry/secrets/one", "--consistency=s"]).unwrap().stdout.len() > 20
        });
    }
    members[1].stop().unwrap();
    members[1].alter(b"what all members hold", b"what nobody else has!").unwrap();
    members[1].up().unwrap();
    members[1].wait_well().unwrap();

    let ran = night(dir.path(), &members, NIGHT, |_| {}).await;
    let facts = |ctx: &StageContext| judged(ctx).unwrap().manifest.etcd.unwrap();
    let comparers: Vec<_> = ran.iter().filter(|(ctx, _)| facts(ctx).agreement.is_some()).collect();
    let [(comparer, _)] = comparers[..] else { panic!("compared {} times", comparers.len()) };
    let agreement = facts(comparer).agreement.unwrap();
    assert_eq!(agreement.state, AgreementState::Diverged, "{agreement:?}");

    // The agreement reaches the master last, which then corrects its record.
    let master = host(dir.path(), "m1", NIGHT, &members[0].url, |_| {});
    let bad = ran.iter().find(|(ctx, _)| ctx.settings.this.as_str() == "e2").map(|(ctx, _)| ctx).unwrap();
    let later = ran.iter().filter(|(ctx, _)| ctx.settings.this != comparer.settings.this);
    for ctx in later.map(|(ctx, _)| ctx).chain([comparer]) {
        let set = pull(&master.vault, ctx);
        let (manifest, sha256) =
            (master.vault.manifest(&set).unwrap(), Some(master.vault.manifest_digest(&set).unwrap()));
        let (bytes, grade) = (manifest.total_bytes(), Some(manifest.grade));
        // Like a pull: if the comparer itself diverged, its own manifest says so.
        let reason = (manifest.grade != Grade::Good).then(|| manifest.notes.summary());
        let report =
            SetReport { set, fate: Fate::Pulled, grade, from: None, bytes, sha256, reason, verified: None };
        master.note(Step::Set(report)).await.unwrap();
        stored_sets::update_grades(&master).await.unwrap();
    }
    let record = master.record.record().unwrap();
    // What one other host found alone is a doubt.
    let of_bad =
        if comparer.settings.this == bad.settings.this { Grade::Diverged } else { Grade::Suspicious };
    for report in &record.sets {
        let expected = if report.set.host == bad.settings.this { of_bad } else { Grade::Good };
        assert_eq!(report.grade, Some(expected), "{report:?}");
        assert_eq!(master.vault.judge(&report.set).unwrap().grade, expected);
    }
    let reason = record.sets.iter().find_map(|report| report.reason.clone()).unwrap();
    assert!(reason.contains("has diverged from the others: at revision "), "{reason}");

    // An operator accepts it.
    let set = judged(bad).unwrap().manifest.id();
    let proof = Proof {
        format: 1,
        cluster: "prod".parse().unwrap(),
        manifest: master.vault.manifest_digest(&set).unwrap(),
        set: set.clone(),
        by: "m1".parse().unwrap(),
        at: jiff::Timestamp::now(),
        with: "0".into(),
        statement: Statement::Accepted { who: "root".into() },
    };
    testing::put_proof(&master.vault, proof);
    stored_sets::update_grades(&master).await.unwrap();
    let record = master.record.record().unwrap();
    assert!(record.sets.iter().all(|report| report.grade == Some(Grade::Good)), "{:?}", record.sets);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_take_snapshots_a_slot_apart_and_the_leader_is_the_last() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let (dir, members) = (tempfile::tempdir().unwrap(), Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap());
    let slot = Duration::from_millis(1500);
    let at = jiff::Timestamp::now();
    let with_slots = |why| {
        move |ctx: &mut StageContext| {
            let mut settings = (*ctx.settings).clone();
            settings.etcd.slot = slot;
            (ctx.settings, ctx.at, ctx.why) = (Arc::new(settings), at, why);
        }
    };
    let ran = night(dir.path(), &members, NIGHT, with_slots(StartReason::Due)).await;
    let mut made: Vec<_> = ran
        .iter()
        .map(|(ctx, end)| {
            assert_eq!(*end, made());
            let manifest = judged(ctx).unwrap().manifest;
            (manifest.made_at, manifest.etcd.unwrap())
        })
        .collect();
    made.sort_by_key(|(at, _)| *at);
    for (turn, (made_at, _)) in made.iter().enumerate() {
        let begins = at + jiff::SignedDuration::try_from(slot * u32::try_from(turn).unwrap()).unwrap();
        assert!(*made_at >= begins, "snapshot {turn} at {made_at}, planned for {at}");
    }
    assert_eq!(made.iter().map(|(_, etcd)| etcd.leader).collect::<Vec<_>>(), [false, false, true]);
    assert!(made[0].1.agreement.is_some() && made[1].1.agreement.is_none());

    // A stage that an operator started does not wait, and neither does one whose slot is over.
    let soon = std::time::Instant::now();
    let far = |ctx: &mut StageContext| {
        with_slots(StartReason::Requested)(ctx);
        let mut settings = (*ctx.settings).clone();
        settings.etcd.slot = Duration::from_secs(3600);
        ctx.settings = Arc::new(settings);
    };
    night(dir.path(), &members, "2026-11-23", far).await;
    night(dir.path(), &members, "2026-11-24", with_slots(StartReason::CaughtUp)).await;
    assert!(soon.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn if_one_set_is_enough_the_first_member_makes_it_and_the_next_one_if_the_first_is_down() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let (dir, mut members) =
        (tempfile::tempdir().unwrap(), Etcd::start_cluster(&["e1", "e2", "e3"]).unwrap());
    let one = |ctx: &mut StageContext| {
        let mut settings = (*ctx.settings).clone();
        settings.etcd.members = EtcdMembers::One;
        ctx.settings = Arc::new(settings);
    };
    let ran = night(dir.path(), &members, NIGHT, one).await;
    let takers: Vec<usize> = (0..3).filter(|at| judged(&ran[*at].0).is_some()).collect();
    let [first] = takers[..] else { panic!("{takers:?}") };
    for (at, (_, end)) in ran.iter().enumerate() {
        assert_eq!(end.outcome, Outcome::Done);
        assert_eq!(end.reason.is_none(), at == first, "{end:?}");
    }
    members[first].stop().unwrap();
    let others: Vec<usize> = (0..3).filter(|at| *at != first).collect();
    members[others[0]].wait_well().unwrap();
    let ran = night(dir.path(), &members, "2026-11-23", one).await;
    assert_eq!(ran[first].1.outcome, Outcome::Failed);
    let takers = others.iter().filter(|at| judged(&ran[**at].0).is_some()).count();
    assert_eq!(takers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_far_smaller_than_the_last_good_one_is_suspicious_and_does_not_become_the_baseline() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    let (dir, etcd) = (tempfile::tempdir().unwrap(), Etcd::start("alone", &[]).unwrap());
    put(&etcd, "/registry/big", &vec![b'x'; 900_000]).await;
    let first = host(dir.path(), "e1", "2026-11-20", &etcd.url, |_| {});
    assert_eq!(run(&first).await, made());
    assert_eq!(judged(&first).unwrap().grade, Grade::Good, "there is no earlier set to compare it with");

    // Another, empty etcd responds at its endpoint now.
    let rebuilt = Etcd::start("rebuilt", &[]).unwrap();
    for night in ["2026-11-21", "2026-11-22"] {
        let ctx = host(dir.path(), "e1", night, &rebuilt.url, |_| {});
        let end = run(&ctx).await;
        assert_eq!((end.outcome, end.retry), (Outcome::Degraded, false), "{end:?}");
        let found = judged(&ctx).unwrap();
        assert_eq!(found.grade, Grade::Suspicious);
        let reason = found.reason().unwrap();
        for part in ["was the cluster restored", "its revision is", "less than 50 %", "(e1/2026-11-20/etcd)"]
        {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }
}

/// Replies once, instead of the cold-copy helper, that it is another member's turn.
fn not_my_turn(ctx: &StageContext) {
    let socket = crate::cold_copy::socket(&ctx.settings);
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut line = listener.accept().unwrap().0;
        BufReader::new(&line).read_line(&mut String::new()).unwrap();
        let words = br#"{"said":"not-my-turn","member":"e2"}"#;
        line.write_all(&[&[b'w', 0, 0, 0, u8::try_from(words.len()).unwrap()], &words[..]].concat()).unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn v2_keys_in_another_members_cold_copy_are_covered_only_if_all_members_make_sets() {
    if !kit::require(kit::etcd::available()) {
        return;
    }
    for (members, grade) in [(EtcdMembers::All, Grade::Good), (EtcdMembers::One, Grade::Degraded)] {
        let (dir, etcd) = (tempfile::tempdir().unwrap(), Etcd::start("alone", &[]).unwrap());
        put(&etcd, "/kubernetes.io/new", b"from v3").await;
        let ctx = host(dir.path(), "e1", NIGHT, &etcd.url, |ctx| {
            let mut settings = Settings::clone(&ctx.settings);
            (settings.etcd.data, settings.etcd.members) = (EtcdData::Mixed, members);
            ctx.settings = Arc::new(settings);
        });
        not_my_turn(&ctx);
        run(&ctx).await;
        let judged = judged(&ctx).unwrap();
        let notes = judged.manifest.notes.summary();
        assert_eq!(judged.grade, grade, "{notes}");
        assert_eq!(notes.contains("members = \"all\""), members == EtcdMembers::One, "{notes}");
    }
}
