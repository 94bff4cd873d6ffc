#![allow(clippy::unwrap_used)]
use nightshift_core::digest::Digest;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::stage::Stage;

use super::*;
use crate::testing;

fn context(dir: &std::path::Path) -> StageContext {
    let settings = testing::settings(dir, vec![testing::host("m1", Role::Master)]);
    testing::context(settings, "2026-11-22", Stage::PullEtcd)
}

fn report(fate: Fate, grade: Option<Grade>) -> SetReport {
    SetReport {
        set: "e1/2026-11-22/etcd".parse().unwrap(),
        fate,
        grade,
        from: None,
        bytes: 2048,
        sha256: fate.is_stored().then(|| Digest::of(b"manifest")),
        reason: (grade != Some(Grade::Good)).then(|| "the reason".to_owned()),
        verified: None,
    }
}

/// The kind, severity and outcome of each event.
fn kinds(ctx: &StageContext, step: &Step) -> Vec<(Kind, Severity, &'static str)> {
    let events = events(ctx, step);
    assert!(events.iter().all(|event| event.severity == Severity::Info || event.reason.is_some()));
    events.iter().map(|event| (event.kind, event.severity, event.outcome.unwrap_or("-"))).collect()
}

#[test]
fn each_fate_of_a_set_has_its_event() {
    use Severity::{Error, Info, Warning};
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    for (fate, grade, expected) in [
        (Fate::Published, Some(Grade::Good), &[(Kind::SetPublished, Info, "good")][..]),
        (Fate::Published, Some(Grade::Degraded), &[(Kind::SetPublished, Warning, "degraded")]),
        (Fate::Published, Some(Grade::Diverged), &[(Kind::SetPublished, Error, "diverged")]),
        (Fate::Pulled, Some(Grade::Good), &[(Kind::SetPulled, Info, "pulled")]),
        (Fate::Pulled, None, &[(Kind::SetPulled, Info, "pulled")]),
        (
            Fate::Pulled,
            Some(Grade::Diverged),
            &[(Kind::MembersDisagree, Error, "diverged"), (Kind::SetPulled, Info, "pulled")],
        ),
        (Fate::Late, Some(Grade::Good), &[(Kind::SetLate, Info, "late")]),
        (Fate::Missing, None, &[(Kind::SetMissing, Warning, "missing")]),
        (Fate::Refused, None, &[(Kind::SetRefused, Error, "refused")]),
    ] {
        assert_eq!(kinds(&ctx, &Step::Set(report(fate, grade))), expected, "{fate:?} {grade:?}");
    }
}

#[test]
fn an_event_has_the_fields_of_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let pulled = SetReport { from: Some("m2".parse().unwrap()), ..report(Fate::Pulled, Some(Grade::Good)) };
    let [event] = &events(&ctx, &Step::Set(pulled.clone()))[..] else { unreachable!("one event") };
    assert_eq!((event.peer.clone(), event.role), (pulled.from, Some(Role::Etcd)));
    assert_eq!((event.bytes, event.sha256), (Some(2048), pulled.sha256));
    assert!(event.path.as_ref().unwrap().ends_with("vault/e1/2026-11-22/etcd"), "{event:?}");
    assert!(event.message.contains("e1/2026-11-22/etcd pulled: good"), "{event:?}");

    let missing = report(Fate::Missing, None);
    let [event] = &events(&ctx, &Step::Set(missing))[..] else { unreachable!("one event") };
    assert_eq!((event.peer.as_ref().unwrap().as_str(), &event.path, event.bytes), ("e1", &None, None));

    let own = SetReport { set: "m1/2026-11-22/master".parse().unwrap(), ..report(Fate::Published, None) };
    let [event] = &events(&ctx, &Step::Set(own))[..] else { unreachable!("one event") };
    assert_eq!(event.peer, None, "a host is not its own peer");
}

#[test]
fn a_set_that_a_later_run_still_misses_is_not_logged_again() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = StageContext { why: StartReason::MissingSets, ..context(dir.path()) };
    assert_eq!(kinds(&ctx, &Step::Set(report(Fate::Missing, None))), []);
    let refused = Step::Set(report(Fate::Refused, None));
    assert_eq!(kinds(&ctx, &refused), [(Kind::SetRefused, Severity::Error, "refused")]);
}

#[test]
fn archives_and_drills_have_their_events() {
    use Severity::{Error, Info, Warning};
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let (archive, remote) = ("m1.tgz".to_owned(), "backup".parse().unwrap());
    let sha256 = Digest::of(b"archive");
    let shipped = Step::Shipped {
        archive,
        remote,
        bytes: 1,
        sha256,
        verified: "SHA-256 verified".into(),
        stored_as: None,
    };
    assert_eq!(kinds(&ctx, &shipped), [(Kind::ArchiveShipped, Info, "shipped")]);
    let (archive, remote) = ("m1.tgz".to_owned(), "backup".parse().unwrap());
    let not_shipped = Step::NotShipped { archive, remote, reason: "refused".into() };
    assert_eq!(kinds(&ctx, &not_shipped), [(Kind::ArchiveNotShipped, Error, "failed")]);
    let pruned = Step::Pruned { what: "e1/2026-11-01/etcd".into(), reason: "older than 3 nights".into() };
    assert_eq!(kinds(&ctx, &pruned), [(Kind::Pruned, Info, "-")]);
    for (verdict, expected) in [
        (DrillVerdict::Proved, (Kind::DrillPassed, Info, "proved")),
        (DrillVerdict::NotRestorable, (Kind::DrillFailed, Error, "not restorable")),
        (DrillVerdict::NotProved, (Kind::NotProved, Warning, "not proved")),
    ] {
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let proof = ProofReport {
            set,
            by: "e2".parse().unwrap(),
            verdict,
            copy: "the vault of e2".into(),
            reason: Some("the reason".into()),
            took_ms: 7,
            secrets: None,
        };
        let [event] = &events(&ctx, &Step::Proved(proof.clone()))[..] else { unreachable!("one event") };
        assert_eq!((event.peer.clone(), event.duration_ms), (Some(proof.by.clone()), Some(7)));
        assert_eq!(kinds(&ctx, &Step::Proved(proof)), [expected]);
    }
}

#[test]
fn secrets_that_do_not_decrypt_are_an_error_and_a_copy_without_any_is_no_event() {
    use nightshift_core::audit::Severity::{Error, Info};
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
    let step = |report: &SecretsReport| Step::Secrets { set: set.clone(), report: report.clone() };
    let all = SecretsReport { values: 2, decrypted: 2, ..SecretsReport::default() };
    let problems = ["key \"key2\" is in no master set (aescbc, 1 value)"].into_iter().collect();
    let some = SecretsReport { values: 2, decrypted: 1, problems, ..SecretsReport::default() };
    assert_eq!(kinds(&ctx, &step(&all)), [(Kind::SecretsChecked, Info, "verified")]);
    assert_eq!(kinds(&ctx, &step(&some)), [(Kind::SecretsChecked, Error, "failed")]);
    let [event] = &events(&ctx, &step(&some))[..] else { unreachable!("one event") };
    assert_eq!(
        event.message,
        "e1/2026-11-22/etcd: encrypted values: 1 of 2 decrypt; key \"key2\" is in no master set (aescbc, 1 value)"
    );
    assert!(events(&ctx, &step(&SecretsReport::default())).is_empty());
    let drilled = |secrets: &SecretsReport| {
        Step::Proved(ProofReport {
            set: set.clone(),
            by: "e2".parse().unwrap(),
            verdict: DrillVerdict::Proved,
            copy: "a copy".into(),
            reason: None,
            took_ms: 7,
            secrets: Some(secrets.clone()),
        })
    };
    assert_eq!(kinds(&ctx, &drilled(&some))[1], (Kind::SecretsChecked, Error, "failed"));
    let unchecked = SecretsReport { unchecked: Some("no master set".into()), ..all };
    assert_eq!(kinds(&ctx, &drilled(&unchecked)).len(), 1, "each master reports its own check");
}

#[tokio::test]
async fn a_report_is_in_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    ctx.report(Step::Set(report(Fate::Pulled, Some(Grade::Good)))).await.unwrap();
    assert_eq!(ctx.record.record().unwrap().sets[0].fate, Fate::Pulled);
}
