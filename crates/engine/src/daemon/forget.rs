//! Removing what is stored of a host that left the inventory: an operator's decision, because its last good set goes too.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::record::{Record, Step};
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Settings;
use nightshift_core::text::summary;
use nightshift_core::units::count;
use nightshift_store::records::RecordLog;
use nightshift_store::{StoreError, Vault};

use crate::audit::Audit;
use crate::control::ControlResponse;

/// Removes all sets of a host from this host's vault. Blocks.
pub(super) fn forget(
    settings: &Settings,
    audit: &Audit,
    tonight: Option<(Night, RecordLog)>,
    host: &HostName,
    who: &str,
) -> ControlResponse {
    if settings.inventory.get(host).is_some() {
        let message =
            format!("{host} is in the configuration; remove it from [hosts] on every host and reload first");
        return ControlResponse::Refused { message };
    }
    let is_expected = |record: &Record| record.expected.iter().any(|it| it.host == *host);
    if let Some((night, record)) = &tonight
        && record.look(|record| record.is_some_and(is_expected))
    {
        let message = format!("night {night} is open and still expects {host}; try again when it is closed");
        return ControlResponse::Busy { message };
    }
    let vault = Vault::of(settings);
    let record = tonight.map(|(_, record)| record);
    let removed = match remove(&vault, record.as_ref(), host, who) {
        Ok(removed) => removed,
        Err(error) => return ControlResponse::Failed { message: chain(&error) },
    };
    let unreadable = summary(&removed.unlisted.iter().map(|error| chain(error)).collect::<Vec<_>>());
    if removed.sets.is_empty() {
        return if unreadable.is_empty() {
            ControlResponse::Refused { message: format!("no set of {host} is in this host's vault") }
        } else {
            ControlResponse::Failed { message: format!("no set of {host} was removed: {unreadable}") }
        };
    }
    let number = count(removed.sets.len(), "set");
    let message = format!("{who} removed {number} of {host}, which left the cluster");
    audit.emit(&Event {
        peer: Some(host.clone()),
        reason: Some(summary(&removed.sets.iter().map(SetId::to_string).collect::<Vec<_>>())),
        ..Event::info(Kind::HostForgotten, message.clone())
    });
    if unreadable.is_empty() {
        ControlResponse::Done { message }
    } else {
        ControlResponse::Degraded { message: format!("{message}; others may still be stored: {unreadable}") }
    }
}

#[derive(Default)]
struct Removed {
    sets: Vec<SetId>,
    /// Why other sets of the host may still be there.
    unlisted: Vec<StoreError>,
}

fn remove(
    vault: &Vault,
    record: Option<&RecordLog>,
    host: &HostName,
    who: &str,
) -> Result<Removed, StoreError> {
    let mut removed = Removed::default();
    match vault.nights_of(host) {
        Ok(nights) => {
            for night in nights {
                match vault.sets_of(host, night) {
                    Ok(sets) => removed.sets.extend(sets),
                    Err(error) => removed.unlisted.push(error),
                }
            }
        }
        Err(error) => removed.unlisted.push(error),
    }
    for set in &removed.sets {
        if let Some(record) = record {
            let reason = format!("{who} removed all sets of {host}, which left the cluster");
            record.note(Step::Pruned { what: set.to_string(), reason })?;
        }
        vault.remove(set)?;
    }
    if removed.unlisted.is_empty() {
        vault.remove_host(host)?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use nightshift_core::outcome::Grade;
    use nightshift_core::role::Role;

    use super::*;
    use crate::testing;

    #[test]
    fn only_a_host_that_left_the_inventory_is_forgotten_and_the_sets_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Master)]);
        let vault = Vault::of(&settings);
        for set in ["m1/2026-11-22/master", "gone/2026-11-21/node", "gone/2026-11-22/node"] {
            testing::publish(&vault, &set.parse().unwrap(), Grade::Good);
        }
        let audit = Audit::new(settings.cluster.clone(), settings.this.clone());
        let forget = |host: &str| forget(&settings, &audit, None, &host.parse().unwrap(), "alice");
        let ControlResponse::Refused { message } = forget("m1") else { panic!("m1 is in the inventory") };
        assert!(message.contains("remove it from [hosts]"), "{message}");
        let ControlResponse::Done { message } = forget("gone") else { panic!("gone left") };
        assert!(message.contains("removed 2 sets of gone,"), "{message}");
        let left: [SetId; 1] = ["m1/2026-11-22/master".parse().unwrap()];
        assert_eq!(vault.sets().unwrap(), left);
        assert!(!vault.host_directory(&"gone".parse().unwrap()).exists());
        assert!(matches!(forget("gone"), ControlResponse::Refused { .. }), "nothing is left");
    }

    #[test]
    fn sets_that_cannot_be_listed_are_reported_and_the_others_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Master)]);
        let vault = Vault::of(&settings);
        testing::publish(&vault, &"gone/2026-11-22/node".parse().unwrap(), Grade::Good);
        // Root reads a directory without any permission, but not one at a name that is too long.
        let closed = vault.host_directory(&"gone".parse().unwrap()).join("2026-11-21");
        std::os::unix::fs::symlink("x".repeat(300), &closed).unwrap();
        let audit = Audit::new(settings.cluster.clone(), settings.this.clone());
        let forget = || forget(&settings, &audit, None, &"gone".parse().unwrap(), "alice");
        let ControlResponse::Degraded { message } = forget() else { panic!("a night cannot be listed") };
        let start = "alice removed 1 set of gone, which left the cluster; ";
        let closed = closed.display().to_string();
        assert!(message.starts_with(start) && message.contains(&closed), "{message}");
        assert_eq!(vault.sets().unwrap(), []);
        let ControlResponse::Failed { message } = forget() else { panic!("a night cannot be listed") };
        assert!(message.contains(&closed), "{message}");
        std::fs::remove_file(closed).unwrap();
        assert!(matches!(forget(), ControlResponse::Refused { .. }), "nothing is left");
    }
}
