//! What this host knows of the last restorable night: how old it is, and which drill proved it.

use std::collections::BTreeMap;

use nightshift_core::outcome::Grade;
use nightshift_core::proof::DrillVerdict;
use nightshift_core::record::Record;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::status::{RestorableNight, SetDrill};
use nightshift_store::Vault;

/// Drills that could not be completed have no proof, and are not a result. What cannot be read is added to `unreadable`.
pub fn of(settings: &Settings, record: &Record, unreadable: &mut Vec<String>) -> RestorableNight {
    let vault = Vault::of(settings);
    let best = record.expected.iter().filter(|expected| expected.role == Role::Etcd);
    let best = best.filter_map(|expected| record.best_set(&expected.host, expected.role));
    let copies = best.filter(|stored| stored.grade.is_some_and(Grade::is_copy)).map(|stored| &stored.set);
    let (mut etcd_sets, mut last) = (0, BTreeMap::new());
    for set in copies.filter(|set| vault.contains(set)) {
        etcd_sets += 1;
        let stored = vault.stored_proofs(set);
        unreadable
            .extend(stored.unusable.iter().map(|reason| format!("a proof of {set} is unusable: {reason}")));
        // The oldest is first: a host's later drill of a set replaces its earlier one.
        for proof in stored.proofs.iter().map(|stored| &stored.proof) {
            let Some(drill) = proof.drill() else { continue };
            let drill =
                SetDrill { set: set.clone(), by: proof.by.clone(), at: proof.at, verdict: drill.verdict };
            last.insert((set, proof.by.clone()), drill);
        }
    }
    let results = last.into_values().filter(|drill| drill.verdict != DrillVerdict::NotProved);
    let drill = results.max_by_key(|drill| (drill.verdict == DrillVerdict::NotRestorable, drill.at));
    RestorableNight { opened: record.opened, etcd_sets, drill }
}
