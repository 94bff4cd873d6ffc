//! An operator keeps a night from being pruned, or no longer.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::kept::{KeptNight, MAX_KEPT};
use nightshift_core::night::Night;
use nightshift_core::settings::Settings;
use nightshift_store::records::Records;
use nightshift_store::{StoreError, Vault, kept};

use crate::audit::Audit;
use crate::control::ControlResponse;

/// Two operators' requests are handled one after the other: each reads the file and writes it anew.
static CHANGE: Mutex<()> = Mutex::new(());

/// Keeps a night to the end of a day, or forever. Blocks.
pub(super) fn keep(
    settings: &Settings,
    audit: &Audit,
    night: Night,
    until: Option<Date>,
    who: &str,
) -> ControlResponse {
    let now = Timestamp::now();
    let today = settings.window.today(now);
    if let Some(until) = until.filter(|until| *until < today) {
        return ControlResponse::Refused { message: format!("{until} is over; today is {today}") };
    }
    let path = settings.paths.kept();
    let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = is_known(settings, night).and_then(|known| {
        let mut nights = kept::read(&path)?;
        let kept = known && nights.keep(night, KeptNight { until, by: who.into(), at: now }, today);
        if kept {
            kept::write(&path, &nights)?;
        }
        Ok((known, kept))
    });
    match kept {
        Ok((false, _)) => {
            let message =
                format!("this host has neither a record nor a set of night {night}; see `nightshift nights`");
            ControlResponse::Refused { message }
        }
        Ok((_, false)) => {
            let message = format!(
                "{MAX_KEPT} nights are kept already; release one with `nightshift nights keep NIGHT --not`"
            );
            ControlResponse::Refused { message }
        }
        Ok(_) => {
            let until = until.map_or("until it is released".to_owned(), |until| format!("until {until}"));
            done(audit, night, format!("{who} keeps night {night} on this host {until}"))
        }
        Err(error) => ControlResponse::Failed { message: chain(&error) },
    }
}

/// Lets the policy decide about a night again. Blocks.
pub(super) fn release(settings: &Settings, audit: &Audit, night: Night, who: &str) -> ControlResponse {
    let path = settings.paths.kept();
    let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let released = kept::read(&path).and_then(|mut nights| {
        let released = nights.release(night);
        if released {
            kept::write(&path, &nights)?;
        }
        Ok(released)
    });
    match released {
        Ok(true) => done(audit, night, format!("{who} no longer keeps night {night} on this host")),
        Ok(false) => ControlResponse::Refused { message: format!("night {night} is not kept on this host") },
        Err(error) => ControlResponse::Failed { message: chain(&error) },
    }
}

fn is_known(settings: &Settings, night: Night) -> Result<bool, StoreError> {
    Ok(Records::new(settings.paths.records()).nights()?.contains(&night)
        || !Vault::of(settings).sets_of_night(night)?.is_empty())
}

fn done(audit: &Audit, night: Night, message: String) -> ControlResponse {
    audit.emit(&Event { night: Some(night), ..Event::info(Kind::NightKept, message.clone()) });
    ControlResponse::Done { message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::outcome::Grade;
    use nightshift_core::role::Role;

    use super::*;
    use crate::testing;

    #[test]
    fn a_night_with_sets_is_kept_and_released_and_an_unknown_or_past_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Master)]);
        testing::publish(&Vault::of(&settings), &"m1/2026-11-22/master".parse().unwrap(), Grade::Good);
        let audit = Audit::new(settings.cluster.clone(), settings.this.clone());
        let night: Night = "2026-11-22".parse().unwrap();
        let kept = |night: &str, until: Option<&str>| {
            let until = until.map(|until| until.parse().unwrap());
            keep(&settings, &audit, night.parse().unwrap(), until, "alice")
        };
        assert!(matches!(kept("2026-11-21", None), ControlResponse::Refused { .. }), "not known here");
        assert!(matches!(kept("2026-11-22", Some("2001-01-01")), ControlResponse::Refused { .. }), "over");
        assert!(matches!(kept("2026-11-22", Some("2999-01-01")), ControlResponse::Done { .. }));
        let stored = kept::read(&settings.paths.kept()).unwrap();
        let today = settings.window.today(Timestamp::now());
        assert_eq!(stored.of(night, today).unwrap().by.as_str(), "alice");
        let release = || release(&settings, &audit, night, "bob");
        assert!(matches!(release(), ControlResponse::Done { .. }));
        assert!(matches!(release(), ControlResponse::Refused { .. }));
    }
}
