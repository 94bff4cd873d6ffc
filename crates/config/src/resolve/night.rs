//! `[night]`: when nights open and close, and in which time zone.

use jiff::tz::TimeZone;
use nightshift_core::night::NightWindow;
use nightshift_core::tolerance::Tolerance;
use toml::Spanned;

use crate::context::Context;
use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::show::{Origin, Shown};
use crate::units::Percent;
use crate::{check, defaults, raw, units};

/// Names in a zone database that are not zones, or another zone on each machine.
const PLACEHOLDERS: [&str; 4] = ["localtime", "posixrules", "Factory", "Etc/Unknown"];

/// `[night]`, resolved.
pub(super) struct Night {
    pub(super) window: NightWindow,
    pub(super) trust_clock: bool,
    pub(super) tolerate: Tolerance,
}

/// The night; `None` if its times were refused, so that the stages' times cannot be checked.
pub(super) fn night(
    raw: Option<&raw::Night>,
    context: &Context<'_>,
    ledger: &mut Ledger<'_>,
) -> Option<Night> {
    let none = raw::Night::default();
    let raw = raw.unwrap_or(&none);
    ledger.section("[night]");
    let mut refused = false;
    let mut time = |text: &String| units::time(text).inspect_err(|_| refused = true);
    let opens = ledger.take("opens", &raw.opens, defaults::OPENS, &mut time);
    let closes = ledger.take("closes", &raw.closes, opens.wrapping_add(defaults::LENGTH), &mut time);
    let zone = zone(raw, context, ledger);
    let trust_clock = ledger.take("trust-clock", &raw.trust_clock, defaults::TRUST_CLOCK, check::any);
    let tolerate = tolerate(&raw.tolerate, ledger);
    let zone = zone?;
    if refused {
        return None;
    }
    let window = NightWindow { opens, closes, zone };
    if window.length() > NightWindow::MAX_LENGTH && !ledger.may_lack_keys_of("night") {
        let span = raw.closes.as_ref().or(raw.opens.as_ref()).map(Spanned::span);
        let refusal = Refusal::new(format!(
            "a night from {} to {} is longer than {} hours",
            units::show_time(opens),
            units::show_time(closes),
            NightWindow::MAX_LENGTH.as_hours()
        ))
        .help("leave at least one hour between two nights, so that they never overlap");
        ledger.refuse(span.as_ref(), refusal);
        return None;
    }
    Some(Night { window, trust_clock, tolerate })
}

fn tolerate(raw: &raw::Tolerate, ledger: &mut Ledger<'_>) -> Tolerance {
    let Tolerance { nodes, nights } = defaults::TOLERATE;
    let percent = |text: &String| units::percent(text);
    Tolerance {
        nodes: ledger.take("tolerate.nodes", &raw.nodes, Percent(nodes), percent).0,
        nights: ledger.take("tolerate.nights", &raw.nights, nights, check::some_nights),
    }
}

fn zone(raw: &raw::Night, context: &Context<'_>, ledger: &mut Ledger<'_>) -> Option<TimeZone> {
    const KEY: &str = "time-zone";
    if raw.time_zone.is_none() {
        match context.system_zone.iana_name() {
            Some(name) => ledger.note(KEY, name.to_owned().shown(), Origin::Machine),
            None => ledger.note_unset(KEY, "the time zone of this machine"),
        }
        return Some(context.system_zone.clone());
    }
    let (zone, span) = ledger.read(&raw.time_zone, |name| {
        if PLACEHOLDERS.contains(&name.as_str()) {
            return Err(Refusal::new(format!("`{name}` is not a time zone that is the same on every host"))
                .help("use the name of a region's zone, such as `Europe/Berlin`, or `UTC`"));
        }
        let zone = (context.zone_lookup)(name).ok_or_else(|| {
            Refusal::new(format!("unknown time zone `{name}`"))
                .help("use a name from /usr/share/zoneinfo, such as `Europe/Berlin` or `UTC`")
        })?;
        Ok((zone, name.shown()))
    })?;
    let origin = ledger.origin(&span);
    let (zone, shown) = zone;
    ledger.note(KEY, shown, origin);
    Some(zone)
}

/// With several hosts the time zone must be set, so that all of them have the same night.
pub(super) fn require_zone(raw: &raw::Config, hosts: usize, ledger: &mut Ledger<'_>) {
    let set = raw.night.as_ref().is_some_and(|night| night.get_ref().time_zone.is_some());
    if set || hosts < 2 {
        return;
    }
    let span = raw.night.as_ref().map(Spanned::span).or_else(|| raw.hosts.as_ref().map(Spanned::span));
    let refusal = Refusal::new("`[night] time-zone` is missing; it is required with more than one host")
        .help("set the same time zone on every host, such as `time-zone = \"Europe/Berlin\"`");
    ledger.missing(span.as_ref(), refusal);
}
