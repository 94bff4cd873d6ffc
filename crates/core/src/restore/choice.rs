//! Which copy of etcd's keys a plan restores.

use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::name::HostName;
use crate::outcome::Grade;
use crate::restore::copy::{CopyKind, EtcdCopy};
use crate::restore::evidence::Evidence;
use crate::restore::finding::Finding;

/// The copy of the survivor, if there is one. Else the one with v2 keys, if there are any, then the one with the best grade, then the one
/// with the highest revision.
pub fn choose(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) -> Option<EtcdCopy> {
    if let Some(survivor) = &evidence.survivor {
        return Some(survivor.clone());
    }
    let sets = evidence.sets.iter().filter_map(|set| Some((set, of_set(&set.manifest)?)));
    let best = sets
        .filter(|(set, _)| set.grade > Grade::Bad)
        .max_by_key(|(set, copy)| (set.grade.is_copy(), copy.v2, set.grade, copy.revision, copy.set.clone()));
    let Some((set, copy)) = best else {
        findings.push(Finding::refused(format!(
            "no etcd set of {} has a snapshot or a cold copy that can be restored; use another night",
            evidence.night
        )));
        return None;
    };
    if !set.grade.is_copy() {
        findings.push(Finding::refused(format!(
            "{} is {}: {}; use another night, or review it and accept it with `nightshift sets accept`",
            copy.set,
            set.grade,
            set.manifest.notes.summary()
        )));
    }
    if !copy.v2
        && let Some(host) = had_v2_keys(evidence)
    {
        findings.push(Finding::lost(format!(
            "etcd's v2 keys: {host} had some, and no set of this night has a copy of them"
        )));
    }
    Some(copy)
}

/// A member that had v2 keys that night.
pub fn had_v2_keys<'e>(evidence: &'e Evidence<'_>) -> Option<&'e HostName> {
    let has_v2 = |manifest: &Manifest| {
        let data = manifest.etcd.as_ref().and_then(|facts| facts.data.as_ref());
        data.is_some_and(|data| data.v2)
    };
    evidence
        .sets
        .iter()
        .map(|set| &set.manifest)
        .find(|manifest| has_v2(manifest))
        .map(|manifest| &manifest.host)
}

/// The copy in a set that has the most: what contains v2 keys, else the snapshot.
fn of_set(manifest: &Manifest) -> Option<EtcdCopy> {
    let facts = manifest.etcd.as_ref()?;
    let data = facts.data.as_ref();
    let v2 = data.is_some_and(|data| data.v2);
    let copy = |item: &str, kind, sha256, size| EtcdCopy {
        set: manifest.id(),
        item: item.to_owned(),
        v2: v2 && kind != CopyKind::Snapshot,
        kind,
        sha256,
        size,
        revision: facts.last_revision(),
        version: facts.version.clone(),
    };
    let snapshot =
        || Some(copy(&manifest.snapshot()?.path, CopyKind::Snapshot, facts.raw_sha256, facts.raw_size));
    // A manifest may be hostile: the name must be that of an item, whose path was checked.
    let cold_copy = || {
        let stored = data?.cold_copy.as_ref()?;
        let item = manifest.item(&stored.item)?;
        Some(copy(&item.path, CopyKind::ColdCopy, stored.raw_sha256, stored.raw_size))
    };
    // Beside v3 keys, a v2 backup is not a copy of all.
    let v2_backup = || {
        let data = data.filter(|data| !data.v3)?;
        let directory = data.v2_backup.as_ref()?.directory.as_str();
        let files: Vec<_> = manifest.files().filter(|(item, ..)| manifest.is_etcd_data(&item.path)).collect();
        let lines: String =
            files.iter().map(|(item, _, sha256)| format!("{sha256}  {}\n", item.path)).collect();
        let size = files.iter().map(|(_, size, _)| size).sum();
        let is_own = crate::manifest::is_safe_path(directory) && !files.is_empty();
        is_own.then(|| copy(directory, CopyKind::V2Backup, Digest::of(lines.as_bytes()), size))
    };
    if v2 { cold_copy().or_else(v2_backup).or_else(snapshot) } else { snapshot().or_else(cold_copy) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::etcd_facts::{ColdCopy, DataFound, EtcdFacts, V2Backup};
    use crate::fixtures::file;
    use crate::restore::evidence::FoundSet;
    use crate::restore::finding::FindingKind;
    use crate::restore::make::make;
    use crate::restore::tests::{cluster, evidence, plan, refusals, titles};
    use crate::settings::Settings;

    /// Of these members, which can all join, the second one has a copy with v2 keys.
    fn with_v2(change: impl Fn(&mut FoundSet, &mut EtcdFacts)) -> (Settings, Vec<FoundSet>) {
        let (settings, mut sets) = cluster();
        for set in &mut sets[..3] {
            set.texts.get_mut("etc/etcd/etcd.conf").unwrap().extend_from_slice(b"ETCD_INITIAL_CLUSTER=x\n");
        }
        let mut facts = sets[1].manifest.etcd.clone().unwrap();
        change(&mut sets[1], &mut facts);
        sets[1].manifest.etcd = Some(facts);
        (settings, sets)
    }

    fn cold_copy(v2: bool) -> (Settings, Vec<FoundSet>) {
        with_v2(|set, facts| {
            set.manifest.items.push(file("member.tar.gz", "member.tar.gz", b"tar"));
            let (raw_size, raw_sha256) = (10, Digest::of(b"member"));
            let cold_copy = ColdCopy { item: "member.tar.gz".into(), raw_size, raw_sha256, stopped_ms: 1 };
            facts.data = Some(DataFound { v3: true, v2, cold_copy: Some(cold_copy), v2_backup: None });
            // The others' snapshots are newer.
            facts.revision = 1;
        })
    }

    fn texts(plan: &crate::restore::Plan, kind: FindingKind) -> String {
        let findings = plan.findings.iter().filter(|finding| finding.kind == kind);
        findings.map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_copy_with_v2_keys_is_restored_on_its_member_and_the_others_join_one_after_the_other() {
        let (settings, sets) = cold_copy(true);
        let plan = plan(&settings, sets);
        assert_eq!(refusals(&plan), "");
        let copy = &plan.etcd.as_ref().unwrap().copy;
        assert_eq!((copy.kind, copy.v2, copy.item.as_str()), (CopyKind::ColdCopy, true, "member.tar.gz"));
        let titles: Vec<String> = titles(&plan)
            .into_iter()
            .filter(|title| {
                ["put etcd's data", "old member", "voting"].iter().any(|words| title.contains(words))
            })
            .collect();
        let hosts: Vec<&str> = titles.iter().map(|title| &title[..2]).collect();
        assert_eq!(hosts, ["e2", "e1", "e1", "e3", "e3"], "{titles:#?}");
        assert!(texts(&plan, FindingKind::Missing).contains("restart every client"));
        assert!(plan.joins_living().is_none() && plan.members().len() == 3);
    }

    #[test]
    fn a_cold_copy_without_v2_keys_is_used_where_no_snapshot_is() {
        let (settings, sets) = cold_copy(false);
        let snapshot = plan(&settings, sets.clone()).etcd.unwrap().copy;
        assert_eq!(
            (snapshot.kind, snapshot.set.to_string().as_str()),
            (CopyKind::Snapshot, "e3/2026-11-28/etcd")
        );
        let without: Vec<FoundSet> = sets
            .into_iter()
            .map(|mut set| {
                set.manifest.items.retain(|item| !item.path.starts_with("snapshot"));
                set
            })
            .collect();
        let plan = plan(&settings, without);
        assert_eq!(refusals(&plan), "");
        assert_eq!(plan.etcd.as_ref().unwrap().copy.kind, CopyKind::ColdCopy);
        assert_eq!(titles(&plan).iter().filter(|title| title.contains("put etcd's data")).count(), 3);
        assert!(plan.joins.is_empty());
    }

    #[test]
    fn v2_keys_without_a_copy_are_named_as_lost_and_a_v2_backup_beside_v3_keys_is_not_a_copy_of_all() {
        let backup = |v3| {
            with_v2(move |set, facts| {
                set.manifest.items.push(file("v2/member/wal/0.wal", "v2/member/wal/0.wal", b"wal"));
                let v2_backup = Some(V2Backup { directory: "v2".into(), keys: Some(2) });
                facts.data = Some(DataFound { v3, v2: true, cold_copy: None, v2_backup });
            })
        };
        let (settings, sets) = backup(false);
        let alone = plan(&settings, sets).etcd.unwrap().copy;
        assert_eq!((alone.kind, alone.v2, alone.item.as_str()), (CopyKind::V2Backup, true, "v2"));
        let (settings, sets) = backup(true);
        let mixed = plan(&settings, sets);
        assert_eq!(mixed.etcd.as_ref().unwrap().copy.kind, CopyKind::Snapshot);
        assert!(texts(&mixed, FindingKind::Lost).contains("etcd's v2 keys: e2 had some"));
    }

    #[test]
    fn the_data_of_a_survivor_is_restored_instead_of_a_snapshot() {
        let (settings, sets) = cluster();
        let mut evidence = evidence(&settings, sets);
        evidence.survivor = Some(EtcdCopy {
            set: "e1/2026-11-28/etcd".parse().unwrap(),
            item: "survivor.tar".into(),
            kind: CopyKind::Survivor,
            v2: false,
            sha256: Digest::of(b""),
            size: 1,
            revision: 99,
            version: "3.4.23".into(),
        });
        let plan = make(&evidence);
        assert_eq!(refusals(&plan), "");
        assert!(
            texts(&plan, FindingKind::Lost)
                .starts_with("what e1 did not know to be committed when the quorum was lost")
        );
        let page = crate::restore::page::Page(&plan).to_string();
        assert!(page.contains("etcd: the data of e1, which survived, revision 99"), "{page}");
    }
}
