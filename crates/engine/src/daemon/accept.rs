//! An operator's acceptance of a suspicious or diverged set: written beside the set, and reported.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::record::Step;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_store::records::RecordLog;
use nightshift_store::{Judged, StoreError, Vault};

use crate::audit::Audit;
use crate::control::ControlResponse;
use crate::stages::{proofs, stored_sets};

/// Why a set cannot be accepted.
#[derive(Debug, thiserror::Error)]
enum AcceptError {
    #[error("{0} is not in this host's vault; `nightshift sets` lists the sets that are")]
    NotStored(SetId),
    #[error("{0} is bad and cannot be accepted: {1}")]
    Bad(SetId, String),
    #[error("{0} is {1} and needs no acceptance; only a suspicious or diverged set does")]
    NotNeeded(SetId, Grade),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Accepts a set. Blocks.
pub(super) fn accept(
    settings: &Settings,
    audit: &Audit,
    tonight: Option<(Night, RecordLog)>,
    set: SetId,
    who: String,
) -> ControlResponse {
    let before = match write(settings, audit, set.clone(), who.clone()) {
        Ok(before) => before,
        Err(error) => return ControlResponse::Failed { message: chain(&error) },
    };
    let message = format!("{who} accepted {set}, which was {}", before.grade);
    audit.emit(&Event {
        night: Some(set.night),
        role: Some(set.role),
        path: Some(set.to_string()),
        outcome: Some("accepted"),
        reason: before.reason(),
        ..Event::info(Kind::SetAccepted, message.clone())
    });
    // The verdict of the open night depends on the grades in its record, so the record gets the new grade.
    if let Some((_, record)) = tonight.filter(|(night, _)| *night == set.night) {
        let changed = stored_sets::changed_grades(&Vault::of(settings), &record);
        if let Err(error) = changed.into_iter().try_for_each(|report| record.note(Step::Set(report))) {
            let what = format!("cannot record that {set} was accepted");
            let failed = Event::failed(Kind::RecordFailed, what, chain(&error));
            audit.emit(&Event { night: Some(set.night), role: Some(set.role), ..failed });
        }
    }
    ControlResponse::Done { message: format!("{message}; it now counts as a good copy") }
}

/// Writes the acceptance; returns how the set was judged before it.
fn write(settings: &Settings, audit: &Audit, set: SetId, who: String) -> Result<Judged, AcceptError> {
    let vault = Vault::of(settings);
    if !vault.contains(&set) {
        return Err(AcceptError::NotStored(set));
    }
    let judged = vault.judge(&set)?;
    if judged.grade == Grade::Bad {
        return Err(AcceptError::Bad(set, judged.notes.join("; ")));
    }
    if !judged.grade.awaits_acceptance() {
        return Err(AcceptError::NotNeeded(set, judged.grade));
    }
    proofs::put_acceptance(settings, audit, set, who)?;
    Ok(judged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use nightshift_core::proof::Statement;
    use nightshift_core::role::Role;

    use super::*;
    use crate::testing;

    fn settings(dir: &std::path::Path) -> (Settings, Vault) {
        let settings = testing::settings(dir, vec![testing::host("m1", Role::Master)]);
        let vault = Vault::of(&settings);
        for (set, grade) in [("e1/2026-11-21/etcd", Grade::Suspicious), ("e1/2026-11-22/etcd", Grade::Bad)] {
            let set: SetId = set.parse().unwrap();
            testing::publish(&vault, &set, grade);
        }
        (settings, vault)
    }

    fn audit(settings: &Settings) -> Audit {
        Audit::new(settings.cluster.clone(), settings.this.clone())
    }

    #[test]
    fn an_accepted_set_is_good_and_its_proof_names_the_operator() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, vault) = settings(dir.path());
        let set: SetId = "e1/2026-11-21/etcd".parse().unwrap();
        assert_eq!(vault.judge(&set).unwrap().grade, Grade::Suspicious);
        let accepted = |set: &SetId| write(&settings, &audit(&settings), set.clone(), "alice".into());
        assert_eq!(accepted(&set).unwrap().grade, Grade::Suspicious);
        let judged = vault.judge(&set).unwrap();
        assert_eq!((judged.grade, judged.accepted), (Grade::Good, true));
        assert_eq!(vault.manifest(&set).unwrap().grade, Grade::Suspicious, "a published set never changes");
        let [proof] = &vault.proofs(&set)[..] else { panic!("one proof is expected") };
        assert_eq!(proof.statement, Statement::Accepted { who: "alice".into() });
        assert_eq!(proof.by, settings.this);
        let again = accepted(&set).unwrap_err();
        assert!(matches!(again, AcceptError::NotNeeded(_, Grade::Good)), "{again}");
        assert_eq!(vault.proofs(&set).len(), 1);
    }

    #[test]
    fn a_bad_set_and_one_that_is_not_stored_here_cannot_be_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, vault) = settings(dir.path());
        let bad: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let refused = write(&settings, &audit(&settings), bad.clone(), "alice".into()).unwrap_err();
        assert!(matches!(refused, AcceptError::Bad(..)), "{refused}");
        assert!(vault.proofs(&bad).is_empty());
        let absent: SetId = "e2/2026-11-22/etcd".parse().unwrap();
        let refused = write(&settings, &audit(&settings), absent.clone(), "alice".into()).unwrap_err();
        assert!(refused.to_string().contains("is not in this host's vault"), "{refused}");
        assert!(!dir.path().join("vault/e2").exists());
    }
}
