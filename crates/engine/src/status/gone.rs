//! The stored sets of a night as they are in the vault now: a record says what was stored, not what is still there.

use std::collections::BTreeSet;

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::manifest::ManifestError;
use nightshift_core::night::is_from_the_future;
use nightshift_core::outcome::Grade;
use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::record::{Record, SetReport};
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::units::count;
use nightshift_store::{StoreError, Vault};

/// How many sets a warning names.
const MAX_NAMED: usize = 5;

/// Sets that a record lists as stored.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Not in the vault any more.
    absent: BTreeSet<SetId>,
    /// With the reasons; also those whose data is gone.
    unreadable: Vec<(SetId, String)>,
    /// Made in the future, by their manifests.
    future: BTreeSet<SetId>,
}

impl Gone {
    /// Adds the best sets of a night. Of an older night only good ones: the policy keeps the last good set of each host, and may
    /// have removed others.
    pub fn add(&mut self, settings: &Settings, record: &Record, is_newest: bool, now: Timestamp) {
        let vault = Vault::of(settings);
        let stored = record.sets.iter().filter(|report| report.fate.is_stored());
        let names: BTreeSet<_> = stored.map(|report| (&report.set.host, report.set.role)).collect();
        // The sets of a host that left may have been removed by an operator.
        let names = names.into_iter().filter(|(host, role)| settings.inventory.has(host, *role));
        for (host, role) in names {
            let Some(SetReport { set, grade, .. }) = record.best_set(host, role) else { continue };
            if !is_newest && *grade != Some(Grade::Good) {
                continue;
            }
            if !vault.contains(set) {
                // Only a newer copy replaces it: beside other sets retention keeps the last good one.
                let is_newer_copy = |it: &SetId| {
                    it.night > set.night
                        && vault.judge(it).is_ok_and(|judged| {
                            judged.grade.is_copy() && vault.lacks_data(&judged.manifest).is_none()
                        })
                };
                let is_replaced = vault.sets_of_host(host, role).iter().rev().any(is_newer_copy);
                let is_pruned = record.pruned.iter().any(|pruned| pruned.what == set.to_string());
                if !is_replaced && !is_pruned {
                    self.absent.insert(set.clone());
                }
                continue;
            }
            match vault.manifest(set) {
                Ok(manifest) if is_from_the_future(manifest.made_at, now) => {
                    self.future.insert(set.clone());
                }
                Ok(manifest) => {
                    let lack =
                        vault.lacks_data(&manifest).map(|reason| (set.clone(), format!("{set}: {reason}")));
                    self.unreadable.extend(lack);
                }
                // One of a newer format is reported when it is pulled.
                Err(StoreError::Manifest { source: ManifestError::Newer(_), .. }) => {}
                Err(error) => self.unreadable.push((set.clone(), chain(&error))),
            }
        }
    }

    /// Adds the sets of nights in the future, of all hosts of the inventory.
    pub fn add_future(&mut self, settings: &Settings, now: Timestamp) {
        let vault = Vault::of(settings);
        for host in settings.inventory.hosts() {
            // A host without sets has no directory.
            let nights = vault.nights_of(&host.name).unwrap_or_default();
            for night in nights.into_iter().filter(|night| night.is_from_the_future(now)) {
                self.future.extend(vault.sets_of(&host.name, night).unwrap_or_default());
            }
        }
    }

    pub fn sets(&self) -> BTreeSet<SetId> {
        self.absent.iter().chain(self.unreadable.iter().map(|(set, _)| set)).cloned().collect()
    }

    /// Without the absent ones where the vault itself is lost.
    pub fn reasons(&self, settings: &Settings, is_vault_lost: bool) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if !self.absent.is_empty() && !is_vault_lost {
            let text = format!(
                "recorded as stored, and not in the vault {}: {}; if its disk is all right: nightshift run night",
                settings.vault.path.display(),
                named(&self.absent)
            );
            reasons.push(Reason::new(ReasonCode::SetGone, text));
        }
        if !self.future.is_empty() {
            let text = format!(
                "more than 36 h in the future, so that they count nowhere: {}; the clock of the host was wrong when it made them, or is wrong here; if it is right here, move them out of {}",
                named(&self.future),
                settings.vault.path.display()
            );
            reasons.push(Reason::new(ReasonCode::SetInFuture, text));
        }
        let unreadable = self.unreadable.iter().take(MAX_NAMED);
        reasons.extend(unreadable.map(|(_, reason)| Reason::new(ReasonCode::SetUnreadable, reason.clone())));
        if self.unreadable.len() > MAX_NAMED {
            let text = format!(
                "{} in the vault are unreadable; see `nightshift sets`",
                count(self.unreadable.len(), "set")
            );
            reasons.push(Reason::new(ReasonCode::SetUnreadable, text));
        }
        reasons
    }
}

/// The first of some sets, and how many there are.
fn named(sets: &BTreeSet<SetId>) -> String {
    let named: Vec<String> = sets.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let more = sets.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
