#![allow(clippy::unwrap_used)]
use nightshift_core::manifest;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{Proof, Statement};
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_core::stage::Stage;
use nightshift_store::Vault;

use super::*;
use crate::testing;

fn publish(vault: &Vault, set: &str, grade: Grade) {
    testing::publish(vault, &set.parse().unwrap(), grade);
}

/// A vault that keeps two nights, on the third.
fn context(dir: &std::path::Path) -> StageContext {
    let settings = testing::settings(dir, vec![testing::host("m1", Role::Node)]);
    let ctx = testing::context(settings, "2026-11-22", Stage::Prune);
    for night in ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"] {
        publish(&ctx.vault, &format!("m1/{night}/node"), Grade::Good);
    }
    ctx
}

fn nights(ctx: &StageContext) -> Vec<String> {
    ctx.vault.sets().unwrap().into_iter().map(|set| set.night.to_string()).collect()
}

#[tokio::test]
async fn what_the_policy_drops_even_without_tonight_is_removed_when_the_night_opens() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    before_tonight(&ctx, true).await;
    assert_eq!(nights(&ctx), ["2026-11-20", "2026-11-21"]);
    let record = ctx.record.record().unwrap();
    assert_eq!(record.pruned.len(), 2, "each removal is recorded with its reason: {:?}", record.pruned);
}

#[tokio::test]
async fn while_the_clock_is_doubtful_only_shipped_archives_are_removed_when_the_night_opens() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let sent = ctx.settings.paths.sent();
    std::fs::create_dir_all(&sent).unwrap();
    for date in ["2026.11.20", "2026.11.21"] {
        std::fs::write(sent.join(format!("m1_{date}.tgz")), b"archive").unwrap();
    }
    before_tonight(&ctx, false).await;
    assert_eq!(nights(&ctx).len(), 4);
    assert!(!sent.join("m1_2026.11.20.tgz").exists() && sent.join("m1_2026.11.21.tgz").exists());
}

#[tokio::test]
async fn at_the_end_of_the_night_tonight_counts_and_the_last_good_set_stays() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    publish(&ctx.vault, "m1/2026-11-22/node", Grade::Bad);
    let end = run(&ctx).await.unwrap();
    assert_eq!(end, StageEnd::done());
    assert_eq!(nights(&ctx), ["2026-11-21", "2026-11-22"]);
}

#[tokio::test]
async fn a_damaged_set_stays_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let old: SetId = "m1/2026-11-18/node".parse().unwrap();
    std::fs::write(ctx.vault.directory(&old).join(manifest::FILE), b"{").unwrap();
    let end = run(&ctx).await.unwrap();
    assert!(end.reason.unwrap().contains("cannot use the manifest of m1/2026-11-18/node"));
    assert_eq!(nights(&ctx), ["2026-11-18", "2026-11-20", "2026-11-21"]);
}

#[tokio::test]
async fn a_night_of_a_wrong_year_removes_neither_sets_nor_records() {
    let dir = tempfile::tempdir().unwrap();
    let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Node)]);
    let ctx = testing::context(settings, "2099-01-01.1", Stage::Prune);
    let today = ctx.settings.window.today(Timestamp::now());
    let real = [today.to_string(), today.yesterday().unwrap().to_string()];
    for night in real.iter().map(String::as_str).chain(["2098-01-15.1", "2098-02-15.1", "2098-03-15.1"]) {
        publish(&ctx.vault, &format!("m1/{night}/node"), Grade::Good);
    }
    let records = Records::new(ctx.settings.paths.records());
    records.open(real[0].parse().unwrap()).unwrap();
    assert_eq!(run(&ctx).await.unwrap(), StageEnd::done());
    for night in &real {
        assert!(nights(&ctx).contains(night), "{night} is gone: {:?}", nights(&ctx));
    }
    assert!(records.nights().unwrap().contains(&real[0].parse().unwrap()));
}

#[tokio::test]
async fn an_unreadable_record_does_not_keep_prune_from_running() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    std::fs::write(ctx.settings.paths.records().join("2026-11-20.json"), b"{").unwrap();
    assert_eq!(run(&ctx).await.unwrap(), StageEnd::done());
    assert_eq!(nights(&ctx), ["2026-11-20", "2026-11-21"]);
}

fn accept(vault: &Vault, set: &SetId) {
    let proof = Proof {
        format: 1,
        cluster: "prod".parse().unwrap(),
        set: set.clone(),
        manifest: vault.manifest_digest(set).unwrap(),
        by: "m1".parse().unwrap(),
        at: Timestamp::now(),
        with: "0".into(),
        statement: Statement::Accepted { who: "root".into() },
    };
    testing::put_proof(vault, proof);
}

#[tokio::test]
async fn a_suspicious_set_keeps_everything_of_its_host_until_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    publish(&ctx.vault, "e1/2026-11-01/node", Grade::Good);
    for night in ["2026-11-17", "2026-11-18", "2026-11-19"] {
        publish(&ctx.vault, &format!("e1/{night}/etcd"), Grade::Good);
    }
    let suspicious: SetId = "e1/2026-11-20/etcd".parse().unwrap();
    publish(&ctx.vault, "e1/2026-11-20/etcd", Grade::Suspicious);
    publish(&ctx.vault, "e1/2026-11-21/etcd", Grade::Good);
    let stored = || -> Vec<String> {
        let sets = ctx.vault.sets().unwrap();
        sets.iter().filter(|set| set.host.as_str() == "e1").map(ToString::to_string).collect()
    };
    let all = stored();
    run(&ctx).await.unwrap();
    assert_eq!(stored(), all, "if it is wrong, only older sets can be used");
    assert_eq!(
        nights(&ctx).iter().filter(|night| *night == "2026-11-18").count(),
        1,
        "the set of the other host is removed"
    );

    accept(&ctx.vault, &suspicious);
    run(&ctx).await.unwrap();
    assert_eq!(stored(), ["e1/2026-11-20/etcd", "e1/2026-11-21/etcd"]);
}

#[tokio::test]
async fn a_set_of_a_newer_format_is_removed_like_others_by_the_date_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    for night in ["2026-11-18", "2026-11-21"] {
        let set: SetId = format!("m1/{night}/node").parse().unwrap();
        let manifest = ctx.vault.directory(&set).join(manifest::FILE);
        std::fs::write(manifest, br#"{"format": 9, "items": []}"#).unwrap();
    }
    let end = run(&ctx).await.unwrap();
    assert_eq!(end, StageEnd::done(), "it was reported when it was pulled, and is not reported each night");
    assert_eq!(nights(&ctx), ["2026-11-20", "2026-11-21"]);
}

/// Publishes an etcd set with one file of a v2 backup, which needs no etcd to be verified. Returns the file.
fn publish_etcd(vault: &Vault, set: &SetId) -> std::path::PathBuf {
    use nightshift_core::digest::Digest;
    use nightshift_core::etcd_facts::{DataFound, EtcdFacts, V2Backup};
    use nightshift_core::fixtures::{etcd_facts, etcd_manifest};
    use nightshift_core::manifest::{Item, ItemKind, Manifest};
    const FILE: &str = "v2/member/wal/0.wal";
    let v2_backup = Some(V2Backup { directory: "v2".into(), keys: None });
    let data = Some(DataFound { v2: true, v2_backup, ..DataFound::default() });
    let manifest = etcd_manifest(set, Grade::Good, EtcdFacts { snapshot: None, data, ..etcd_facts() });
    let kind = ItemKind::File { size: 3, sha256: Digest::of(b"wal") };
    let item = Item { path: FILE.to_owned(), kind, ..manifest.items[0].clone() };
    let partial = vault.begin(set).unwrap();
    partial.write(FILE, b"wal").unwrap();
    partial.publish(&Manifest { items: vec![item], ..manifest }.encode().unwrap(), None).unwrap();
    vault.directory(set).join(FILE)
}

#[tokio::test]
async fn a_copy_that_the_scrub_finds_damaged_is_bad_here_and_not_the_last_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let [older, newer] =
        ["m1/2026-11-18/etcd", "m1/2026-11-19/etcd"].map(|set| set.parse::<SetId>().unwrap());
    publish_etcd(&ctx.vault, &older);
    let file = publish_etcd(&ctx.vault, &newer);
    let grade = || ctx.vault.judge(&newer).unwrap().grade;
    assert_eq!((scrub::scrub(&ctx).await.unwrap(), grade()), (Vec::new(), Grade::Good));
    std::fs::write(&file, b"WAL").unwrap();
    let found = scrub::scrub(&ctx).await.unwrap();
    assert_eq!(found.len(), 1, "tonight is the turn of the newer one: {found:?}");
    let judged = ctx.vault.judge(&newer).unwrap();
    assert_eq!(judged.grade, Grade::Bad);
    assert!(judged.notes[0].contains("0.wal: its SHA-256 is"), "{:?}", judged.notes);
    let copy = ctx.vault.newest_copy(std::slice::from_ref(&newer.host), Role::Etcd).unwrap().unwrap();
    assert_eq!(copy.manifest.id(), older);
    // The disk returns what was written after all.
    std::fs::write(&file, b"wal").unwrap();
    assert_eq!((scrub::scrub(&ctx).await.unwrap(), grade()), (Vec::new(), Grade::Good));

    std::fs::write(&file, b"WAL").unwrap();
    scrub::scrub(&ctx).await.unwrap();
    run(&ctx).await.unwrap();
    assert!(ctx.vault.contains(&older), "it is the last good one");
}

#[tokio::test]
async fn a_set_whose_data_is_gone_is_not_the_last_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let [older, newer] =
        ["m1/2026-11-18/etcd", "m1/2026-11-19/etcd"].map(|set| set.parse::<SetId>().unwrap());
    publish_etcd(&ctx.vault, &older);
    let file = publish_etcd(&ctx.vault, &newer);
    let lack = || ctx.vault.lacks_data(&ctx.vault.manifest(&newer).unwrap());
    assert_eq!(lack(), None);
    std::fs::write(&file, b"wa").unwrap();
    assert!(lack().unwrap().ends_with("0.wal has 2 bytes instead of 3"), "{:?}", lack());
    std::fs::remove_file(&file).unwrap();
    assert!(lack().unwrap().ends_with("0.wal is gone"), "{:?}", lack());
    before_tonight(&ctx, true).await;
    assert!(ctx.vault.contains(&older) && !ctx.vault.contains(&newer));
}

#[tokio::test]
async fn a_set_that_cannot_be_read_does_not_keep_the_others_from_being_scrubbed() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path());
    let [unreadable, damaged] =
        ["e1/2026-11-19/etcd", "e2/2026-11-19/etcd"].map(|set| set.parse::<SetId>().unwrap());
    publish_etcd(&ctx.vault, &unreadable);
    std::fs::write(publish_etcd(&ctx.vault, &damaged), b"WAL").unwrap();
    let manifest = ctx.vault.directory(&unreadable).join(manifest::FILE);
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    let found = scrub::scrub(&ctx).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("e1/2026-11-19/etcd/manifest.json") && found[1].contains(&damaged.to_string()));
}
