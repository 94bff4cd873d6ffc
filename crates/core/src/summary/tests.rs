#![allow(clippy::unwrap_used)]
mod tolerance;

use super::*;
use crate::backup::Backup;
use crate::digest::Digest;
use crate::hook::Occasion;
use crate::record::{Expected, HookReport, Line, Packed, SetReport, StartReason, Step};
use crate::set_path::SetId;
use crate::tolerance::Tolerance;

fn line(step: Step) -> Line {
    Line { at: "2026-11-22T21:00:00Z".parse().unwrap(), step }
}

fn expected(host: &str, role: Role, new: bool) -> Expected {
    Expected { host: host.parse().unwrap(), role, new, any: false, last_good: None }
}

/// The night of a master with an etcd member, a node and one remote.
fn night(expect: Vec<Expected>, steps: Vec<Step>) -> Judgement {
    judge(&record(expect, steps, None))
}

fn record(expect: Vec<Expected>, steps: Vec<Step>, tolerate: Option<Tolerance>) -> Record {
    let opened = Step::Opened {
        format: 1,
        night: "2026-11-22".parse().unwrap(),
        host: "m1".parse().unwrap(),
        version: "0".into(),
        closes: "2026-11-23T03:00:00Z".parse().unwrap(),
        expected: expect,
        stages: Stage::ALL.to_vec(),
        remotes: vec!["backup".parse().unwrap()],
        restored: None,
        backup: None,
        tolerate,
    };
    Record::from_lines([opened].into_iter().chain(steps).map(line)).unwrap()
}

fn all() -> Vec<Expected> {
    vec![
        expected("m1", Role::Master, false),
        expected("e1", Role::Etcd, false),
        expected("n1", Role::Node, false),
    ]
}

fn set(host: &str, role: Role, fate: Fate, grade: Option<Grade>, reason: Option<&str>) -> Step {
    Step::Set(SetReport {
        set: SetId::first(host.parse().unwrap(), "2026-11-22".parse().unwrap(), role),
        fate,
        grade,
        from: None,
        bytes: 1,
        sha256: None,
        reason: reason.map(str::to_owned),
        verified: None,
    })
}

fn held(host: &str, role: Role) -> Step {
    set(host, role, Fate::Pulled, Some(Grade::Good), None)
}

fn everything() -> Vec<Step> {
    vec![held("m1", Role::Master), held("e1", Role::Etcd), held("n1", Role::Node)]
}

fn packed(missing: &[&str]) -> Step {
    Step::Packed(Packed {
        archive: "m1_2026.11.22.tgz".into(),
        bytes: 1,
        sha256: Digest::of(b""),
        sets: 3,
        etcd: Vec::new(),
        missing: missing.iter().map(|word| (*word).to_owned()).collect(),
        encrypted: false,
    })
}

fn shipped() -> Step {
    Step::Shipped {
        archive: "m1_2026.11.22.tgz".into(),
        remote: "backup".parse().unwrap(),
        bytes: 1,
        sha256: Digest::of(b""),
        verified: "SHA-256 verified".into(),
        stored_as: None,
    }
}

fn ended(stage: Stage, outcome: Outcome, reason: &str) -> Step {
    Step::Ended { stage, attempt: 1, outcome, reason: Some(reason.into()), duration_ms: 1 }
}

fn of(mut steps: Vec<Step>, more: Vec<Step>) -> (Verdict, String) {
    steps.extend(more);
    let Judgement { verdict, reasons, .. } = night(all(), steps);
    let texts: Vec<String> = reasons.into_iter().map(|reason| reason.text).collect();
    (verdict, texts.join("; "))
}

#[test]
fn a_night_with_all_sets_stored_and_shipped_is_complete() {
    assert_eq!(of(everything(), vec![packed(&[]), shipped()]), (Verdict::Complete, String::new()));
}

#[test]
fn a_missing_node_degrades_the_night_and_is_reported_with_its_reason() {
    let steps = vec![held("m1", Role::Master), held("e1", Role::Etcd)];
    let missing = set("n1", Role::Node, Fate::Missing, None, Some("no route to host"));
    assert_eq!(
        of(steps, vec![missing]),
        (Verdict::Degraded, "n1 node: missing: no route to host".to_owned())
    );
}

#[test]
fn a_night_without_a_good_etcd_snapshot_has_failed() {
    let bad = set("e1", Role::Etcd, Fate::Pulled, Some(Grade::Bad), Some("its trailer does not match"));
    let (verdict, reasons) = of(vec![held("m1", Role::Master), held("n1", Role::Node)], vec![bad]);
    assert_eq!(verdict, Verdict::Failed);
    assert!(reasons.contains("no good etcd snapshot") && reasons.contains("trailer"), "{reasons}");
}

#[test]
fn a_night_without_its_own_set_has_failed() {
    let (verdict, reasons) = of(vec![held("e1", Role::Etcd), held("n1", Role::Node)], vec![]);
    assert_eq!((verdict, reasons.as_str()), (Verdict::Failed, "m1 master: missing"));
}

#[test]
fn a_late_set_degrades_the_night() {
    let late = set("n1", Role::Node, Fate::Late, Some(Grade::Good), None);
    let steps = vec![held("m1", Role::Master), held("e1", Role::Etcd)];
    assert_eq!(of(steps, vec![late]), (Verdict::Degraded, "n1 node: late".to_owned()));
}

#[test]
fn an_archive_that_is_not_on_a_remote_degrades_the_night() {
    let not = Step::NotShipped {
        archive: "m1_2026.11.22.tgz".into(),
        remote: "backup".parse().unwrap(),
        reason: "connection refused".into(),
    };
    assert_eq!(
        of(everything(), vec![packed(&[]), not]),
        (Verdict::Degraded, "m1_2026.11.22.tgz is not on remote backup: connection refused".to_owned())
    );
}

#[test]
fn a_missed_stage_degrades_the_night() {
    let (verdict, reasons) = of(everything(), vec![ended(Stage::Prune, Outcome::Missed, "no clock")]);
    assert_eq!((verdict, reasons.as_str()), (Verdict::Degraded, "prune missed: no clock"));
}

#[test]
fn a_set_left_out_of_the_archive_as_damaged_degrades_the_night() {
    let damage = ended(Stage::PackArchive, Outcome::Degraded, "n1/2026-11-22/node: its hash is another");
    let (verdict, reasons) = of(everything(), vec![packed(&["n1"]), shipped(), damage]);
    assert_eq!(verdict, Verdict::Degraded);
    assert!(reasons.contains("its hash is another"), "{reasons}");
}

#[test]
fn a_degraded_pull_whose_sets_another_master_supplied_leaves_the_night_complete() {
    let pull = ended(Stage::PullNodes, Outcome::Degraded, "n1: no route to host");
    let filled = Step::Started { stage: Stage::MirrorMasters, attempt: 1, why: StartReason::Due };
    assert_eq!(of(everything(), vec![pull, filled]).0, Verdict::Complete);
}

#[test]
fn a_set_of_a_newer_format_is_stored_but_does_not_count_as_good() {
    let newer = set("n1", Role::Node, Fate::Pulled, None, Some("newer: upgrade masters first"));
    let steps = vec![held("m1", Role::Master), held("e1", Role::Etcd)];
    let (verdict, reasons) = of(steps, vec![newer]);
    assert_eq!(verdict, Verdict::Degraded);
    assert_eq!(reasons, "n1 node: unchecked (newer: upgrade masters first)");
}

#[test]
fn a_new_host_is_not_missing() {
    let mut expect = all();
    expect.push(expected("n2", Role::Node, true));
    assert_eq!(night(expect, everything()).verdict, Verdict::Complete);
}

#[test]
fn a_good_second_attempt_replaces_a_degraded_first_one() {
    let first = set("n1", Role::Node, Fate::Pulled, Some(Grade::Degraded), Some("a file is absent"));
    let Step::Set(mut second) = held("n1", Role::Node) else { unreachable!() };
    second.set.attempt = 2;
    let steps = vec![held("m1", Role::Master), held("e1", Role::Etcd), first];
    assert_eq!(of(steps, vec![Step::Set(second)]).0, Verdict::Complete);
}

fn any(host: &str) -> Expected {
    Expected { any: true, ..expected(host, Role::Etcd, false) }
}

#[test]
fn where_one_etcd_set_is_enough_a_good_one_of_any_host_satisfies_all() {
    let expect = || vec![any("e1"), any("e2"), any("m1"), expected("m1", Role::Master, false)];
    let done =
        |stage| Step::Ended { stage, attempt: 1, outcome: Outcome::Done, reason: None, duration_ms: 1 };
    let master = || vec![held("m1", Role::Master), done(Stage::SnapshotEtcd)];
    let with = |steps: Vec<Step>| night(expect(), [master(), steps].concat());
    assert_eq!(
        with(vec![held("e2", Role::Etcd)]),
        Judgement { verdict: Verdict::Complete, reasons: vec![], tolerated: vec![] }
    );

    let judged = with(vec![]);
    assert_eq!(judged.verdict, Verdict::Failed, "every host relied on another: {judged:?}");
    assert_eq!(judged.reasons[0].text, "no good etcd snapshot of the cluster");
    assert_eq!(judged.reasons[0].code, ReasonCode::NoEtcdSnapshot);
    // A diverged set is stored too, and is reported.
    let bad = set("e1", Role::Etcd, Fate::Pulled, Some(Grade::Diverged), Some("it differs"));
    let judged = with(vec![held("e2", Role::Etcd), bad]);
    assert_eq!(judged.verdict, Verdict::Degraded);
    assert_eq!(judged.reasons, [Reason::new(ReasonCode::SetDiverged, "e1 etcd: diverged (it differs)")]);
}

#[test]
fn an_etcd_host_whose_snapshot_is_not_needed_has_a_complete_night_and_one_that_failed_has_not() {
    let ended = |outcome| Step::Ended {
        stage: Stage::SnapshotEtcd,
        attempt: 1,
        outcome,
        reason: Some("not needed: e1 has a good set".into()),
        duration_ms: 1,
    };
    // The record's own host is m1, which has no set of another host here.
    assert_eq!(night(vec![any("m1")], vec![ended(Outcome::Done)]).verdict, Verdict::Complete);
    assert_eq!(night(vec![any("m1")], vec![ended(Outcome::Failed)]).verdict, Verdict::Failed);
    assert_eq!(night(vec![any("m1")], vec![]).verdict, Verdict::Failed);
}

fn proof(set: &str, verdict: DrillVerdict, reason: Option<&str>) -> Step {
    Step::Proved(ProofReport {
        set: set.parse().unwrap(),
        by: "e2".parse().unwrap(),
        verdict,
        copy: "the vault of e2".into(),
        reason: reason.map(Into::into),
        took_ms: 1,
        secrets: None,
    })
}

#[test]
fn a_night_whose_copy_does_not_restore_has_failed_with_one_reason() {
    let unfit = proof("e1/2026-11-22/etcd", DrillVerdict::NotRestorable, Some("it takes no write"));
    let stage = ended(Stage::Drill, Outcome::Degraded, "e1/2026-11-22/etcd does not restore");
    assert_eq!(
        of(everything(), vec![unfit.clone(), stage.clone()]),
        (Verdict::Failed, "e2's copy of e1/2026-11-22/etcd does not restore: it takes no write".to_owned())
    );
    let another = proof("e2/2026-11-22/etcd", DrillVerdict::Proved, None);
    assert_eq!(of(everything(), vec![unfit, another, stage]).0, Verdict::Degraded);
}

#[test]
fn a_night_without_a_proof_is_degraded_with_the_reason() {
    let reason = "verified, not proved: no etcd binary";
    let (verdict, reasons) = of(everything(), vec![ended(Stage::Drill, Outcome::Degraded, reason)]);
    assert_eq!((verdict, reasons), (Verdict::Degraded, format!("drill degraded: {reason}")));
    let proved = proof("e1/2026-11-22/etcd", DrillVerdict::Proved, None);
    assert_eq!(of(everything(), vec![proved]).0, Verdict::Complete);
}

#[test]
fn a_closed_night_has_the_sentences_of_its_record_with_the_codes_that_they_had() {
    let judged = night(vec![], vec![ended(Stage::Prune, Outcome::Missed, "no clock")]);
    let texts =
        ["closed before its time: a restore".to_owned(), judged.reasons[0].text.clone(), "gone".to_owned()];
    let closed = judged.closed(Verdict::Failed, &texts);
    assert_eq!(closed.verdict, Verdict::Failed);
    let codes: Vec<ReasonCode> = closed.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes, [ReasonCode::ClosedEarly, ReasonCode::StageMissed, ReasonCode::Other]);
}

#[test]
fn a_stored_set_that_is_gone_counts_as_missing() {
    let record = record(vec![expected("n1", Role::Node, true)], vec![held("n1", Role::Node)], None);
    let stored = record.best_set(&"n1".parse().unwrap(), Role::Node).unwrap().set.clone();
    assert_eq!(missing_sets(&record, &BTreeSet::new()), [(Role::Node, 0)].into());
    assert_eq!(missing_sets(&record, &BTreeSet::from([stored])), [(Role::Node, 1)].into());
}

fn hook(name: &str, at: Occasion, outcome: Option<Outcome>) -> Step {
    Step::Hook(HookReport {
        name: name.parse().unwrap(),
        at,
        ended: None,
        outcome,
        reason: Some("x ended with exit code 3".into()),
        duration_ms: 1,
    })
}

#[test]
fn a_failed_hook_degrades_the_night_with_one_reason_and_one_after_the_night_does_not() {
    let failed = Some(Outcome::Failed);
    let judged = |steps: Vec<Step>| night(all(), everything().into_iter().chain(steps).collect());
    let reason = "hook a: x ended with exit code 3";
    let at = Occasion::before(Stage::CollectNode);
    for steps in [
        vec![hook("a", Occasion::BEFORE_NIGHT, failed)],
        // The sets' own reasons cover a degraded stage, but not its hook.
        vec![hook("a", at, failed), ended(Stage::CollectNode, Outcome::Degraded, reason)],
    ] {
        let Judgement { verdict, reasons, .. } = judged(steps);
        assert_eq!(
            (verdict, &reasons[..]),
            (Verdict::Degraded, &[Reason::new(ReasonCode::HookFailed, reason)][..])
        );
    }
    // The stage's own reason has it already.
    let Judgement { reasons, .. } =
        judged(vec![hook("a", at, failed), ended(Stage::CollectNode, Outcome::Failed, reason)]);
    assert_eq!(reasons, [Reason::new(ReasonCode::StageFailed, format!("collect-node failed: {reason}"))]);
    for steps in [
        vec![hook("a", Occasion::AFTER_NIGHT, failed)],
        vec![hook("a", Occasion::AFTER_NIGHT, None)],
        vec![hook("a", at, failed), hook("a", at, Some(Outcome::Done))],
    ] {
        assert_eq!(judged(steps).verdict, Verdict::Complete);
    }
}

#[test]
fn a_failed_hook_of_a_member_whose_set_is_not_needed_does_not_make_the_set_missing() {
    let not_needed = Expected { any: true, ..expected("m1", Role::Etcd, false) };
    let at = Occasion::before(Stage::SnapshotEtcd);
    let steps = |hook: Step| vec![hook, ended(Stage::SnapshotEtcd, Outcome::Degraded, "x")];
    let judged = |hook| night(vec![not_needed.clone()], steps(hook));
    assert_eq!(judged(hook("a", at, Some(Outcome::Failed))).verdict, Verdict::Degraded);
    assert_eq!(
        judged(hook("a", at, Some(Outcome::Done))).verdict,
        Verdict::Failed,
        "degraded for another reason"
    );
}

#[test]
fn an_extra_night_needs_an_etcd_snapshot_only_if_all_hosts_run_it() {
    let without_etcd = || record(all(), vec![held("m1", Role::Master)], None);
    let alone = Record { night: "2026-11-22.1".parse().unwrap(), ..without_etcd() };
    let backup = Record { backup: Some(Backup::default()), ..alone.clone() };
    let restored = Record { restored: Some("abc123".into()), ..alone.clone() };
    let no_snapshot = |record| judge(record).reasons.iter().any(|it| it.code == ReasonCode::NoEtcdSnapshot);
    let judged = [&alone, &backup, &restored].map(|record| (judge(record).verdict, no_snapshot(record)));
    let failed = (Verdict::Failed, true);
    assert_eq!(judged, [(Verdict::Degraded, false), failed, failed]);
}
