//! A person's word on a set that is suspicious or has diverged: written beside it once, and told.

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::outcome::Grade;
use nightshift_core::proof::{FORMAT, Proof, Statement};
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;

use super::Daemon;
use crate::control::Answer;
use crate::stages::held;
use nightshift_store::offload;
use nightshift_store::{Judged, StoreError, Vault};

/// Why a set cannot be accepted.
#[derive(Debug, thiserror::Error)]
enum AcceptError {
    #[error("{0} is not in this host's vault: `nightshift sets` lists what is")]
    NotHeld(SetId),
    #[error("{0} is bad: it failed its checks, and no word makes it a copy ({1})")]
    Bad(SetId, String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Daemon {
    pub(super) async fn accept(&self, set: SetId, who: String) -> Answer {
        let settings = self.settings.clone();
        let (accepting, by) = (set.clone(), who.clone());
        let before = match offload::run(move || accept(&settings, accepting, by)).await {
            Ok(before) => before,
            Err(error) => return Answer::Failed { message: chain(&error) },
        };
        let message = format!("{who} accepts {set}, which was {}", before.grade);
        self.audit.emit(&Event {
            night: Some(set.night),
            role: Some(set.role),
            path: Some(set.to_string()),
            outcome: Some("accepted"),
            reason: before.reason(),
            ..Event::info(Kind::SetAccepted, message.clone())
        });
        self.put_right(&set).await;
        Answer::Done { message: format!("{message}: it counts as a good copy from now on") }
    }

    /// The open night is judged by what its record says of tonight's sets.
    async fn put_right(&self, set: &SetId) {
        let Some(tonight) = self.tonight.as_ref().filter(|tonight| tonight.night == set.night) else {
            return;
        };
        let (vault, record) = (Vault::new(&self.settings.vault.path), tonight.journal());
        if let Err(error) = offload::run(move || held::rejudge(&vault, &record)).await {
            let what = format!("cannot record that {set} was accepted");
            let failed = Event::failed(Kind::RecordFailed, what, chain(&error));
            self.audit.emit(&Event { night: Some(set.night), role: Some(set.role), ..failed });
        }
    }
}

/// Writes the acceptance; returns what the set was worth until now.
fn accept(settings: &Settings, set: SetId, who: String) -> Result<Judged, AcceptError> {
    let vault = Vault::new(&settings.vault.path);
    if !vault.holds(&set) {
        return Err(AcceptError::NotHeld(set));
    }
    let judged = vault.judge(&set)?;
    if judged.grade == Grade::Bad {
        return Err(AcceptError::Bad(set, judged.notes.join("; ")));
    }
    let proof = Proof {
        format: FORMAT,
        cluster: settings.cluster.clone(),
        manifest: vault.manifest_digest(&set)?,
        set,
        by: settings.this.clone(),
        at: Timestamp::now(),
        with: env!("CARGO_PKG_VERSION").to_owned(),
        statement: Statement::Accepted { who },
    };
    vault.put_proof(&proof)?;
    Ok(judged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use nightshift_core::role::Role;

    use super::*;
    use crate::testing;

    fn settings(dir: &std::path::Path) -> (Settings, Vault) {
        let settings = testing::settings(dir, vec![testing::host("m1", Role::Master)]);
        let vault = Vault::new(&settings.vault.path);
        for (set, grade) in [("e1/2026-11-21/etcd", Grade::Suspicious), ("e1/2026-11-22/etcd", Grade::Bad)] {
            let set: SetId = set.parse().unwrap();
            let manifest = testing::manifest(&set, grade, Vec::new());
            vault.begin(&set).unwrap().publish(&manifest.encode().unwrap(), None).unwrap();
        }
        (settings, vault)
    }

    #[test]
    fn an_accepted_set_is_good_and_says_who_accepted_it() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, vault) = settings(dir.path());
        let set: SetId = "e1/2026-11-21/etcd".parse().unwrap();
        assert_eq!(vault.judge(&set).unwrap().grade, Grade::Suspicious);
        assert_eq!(accept(&settings, set.clone(), "alice".into()).unwrap().grade, Grade::Suspicious);
        let judged = vault.judge(&set).unwrap();
        assert_eq!((judged.grade, judged.accepted), (Grade::Good, true));
        assert_eq!(vault.manifest(&set).unwrap().grade, Grade::Suspicious, "a published set never changes");
        let [proof] = &vault.proofs(&set).unwrap()[..] else { panic!("one proof is expected") };
        assert_eq!(proof.statement, Statement::Accepted { who: "alice".into() });
        assert_eq!(proof.by, settings.this);
    }

    #[test]
    fn a_bad_set_and_one_that_is_not_here_are_not_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, vault) = settings(dir.path());
        let bad: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        let refused = accept(&settings, bad.clone(), "alice".into()).unwrap_err();
        assert!(matches!(refused, AcceptError::Bad(..)), "{refused}");
        assert!(vault.proofs(&bad).unwrap().is_empty());
        let absent: SetId = "e2/2026-11-22/etcd".parse().unwrap();
        let refused = accept(&settings, absent.clone(), "alice".into()).unwrap_err();
        assert!(refused.to_string().contains("is not in this host's vault"), "{refused}");
        assert!(!dir.path().join("vault/e2").exists());
    }
}
