//! A night: one run of the schedule, named by the local date on which it opened.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::words::stored_as_text;

/// The name of a night: `2026-11-22`, or `2026-11-22.1` for the first extra night of that date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Night {
    pub date: Date,
    /// 0 for the scheduled night; extra nights, which an operator opens, count from 1.
    pub extra: u16,
}

impl Night {
    pub const fn of(date: Date) -> Self {
        Self { date, extra: 0 }
    }

    pub const fn is_extra(self) -> bool {
        self.extra > 0
    }

    /// The extra night after those that are recorded for this date; `None` if no name is left.
    pub fn free_extra(date: Date, recorded: impl IntoIterator<Item = Self>) -> Option<Self> {
        let last = recorded.into_iter().filter(|night| night.date == date).map(|night| night.extra).max();
        Some(Self { date, extra: last.unwrap_or(0).checked_add(1)? })
    }

    /// Whether the name alone shows that it is more than 36 h in the future, in every zone.
    pub fn is_from_the_future(self, now: Timestamp) -> bool {
        let earliest = self.date.checked_sub(2.days()).and_then(|date| date.to_zoned(TimeZone::UTC));
        earliest.is_ok_and(|earliest| is_from_the_future(earliest.timestamp(), now))
    }

    /// The one whose turn it is in this night: in order, one a day, continuing across months and years.
    pub fn turn<T>(self, all: &[T]) -> Option<&T> {
        const EPOCH: Date = Date::constant(1970, 1, 1);
        let days = self.date.duration_since(EPOCH).as_hours().div_euclid(24);
        let count = i64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(usize::try_from(days.rem_euclid(count)).ok()?)
    }
}

/// Whether a time is so far after `now` that a wrong clock wrote it, or shows `now`.
pub fn is_from_the_future(at: Timestamp, now: Timestamp) -> bool {
    const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(36);
    at.duration_since(now) > MAX_AHEAD
}

impl fmt::Display for Night {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_extra() {
            f.pad(&format!("{}.{}", self.date, self.extra))
        } else {
            f.pad(&self.date.to_string())
        }
    }
}

/// The text is not the name of a night.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid night `{0}`; expected a date such as `2026-11-22`, or `2026-11-22.1` for an extra night")]
pub struct NotANight(String);

impl FromStr for Night {
    type Err = NotANight;
    fn from_str(text: &str) -> Result<Self, NotANight> {
        let bad = || NotANight(text.chars().take(40).collect());
        let (date, extra) = match text.split_once('.') {
            Some((date, extra)) => {
                let extra: u16 = extra.parse().map_err(|_| bad())?;
                (date, Some(extra).filter(|n| *n > 0).ok_or_else(bad)?)
            }
            None => (text, 0),
        };
        let parsed: Date = date.parse().map_err(|_| bad())?;
        let night = Self { date: parsed, extra };
        // Only one spelling is valid, because the night is the name of a directory.
        (night.to_string() == text).then_some(night).ok_or_else(bad)
    }
}

stored_as_text!(Night);

/// When nights open and close, on the wall clock of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct NightWindow {
    pub opens: Time,
    pub closes: Time,
    pub zone: TimeZone,
}

impl NightWindow {
    /// The maximum length of a night: two nights never overlap, also across a DST change.
    pub const MAX_LENGTH: SignedDuration = SignedDuration::from_hours(23);

    /// The length of a night on the wall clock.
    pub fn length(&self) -> SignedDuration {
        let span = self.opens.duration_until(self.closes);
        if span.is_positive() { span } else { span + SignedDuration::from_hours(24) }
    }

    pub fn opening(&self, date: Date) -> Timestamp {
        self.instant(date, self.opens)
    }

    pub fn closing(&self, date: Date) -> Timestamp {
        self.instant(date, self.closes)
    }

    /// The date of `now` in the zone of the nights.
    pub fn today(&self, now: Timestamp) -> Date {
        now.to_zoned(self.zone.clone()).date()
    }

    /// Whether a night is of today or of yesterday, so that it may still be open. Work in any other night is refused: a
    /// mistyped date would count in retention and in the records.
    pub fn is_current(&self, night: Night, now: Timestamp) -> bool {
        let today = self.today(now);
        night.date == today || today.yesterday().is_ok_and(|yesterday| night.date == yesterday)
    }

    /// The date by which work in a night removes what is old: never later than today, whatever the night is named.
    pub fn as_of(&self, night: Night, now: Timestamp) -> Date {
        night.date.min(self.today(now))
    }

    /// The instant at which the wall clock first shows `time` in the night of `date`; `None` if that is outside the night.
    ///
    /// A time before `opens` is on the next day. A time that a DST change skips becomes the end of the skipped hour, so
    /// that stages keep their order; of a time that occurs twice, the first counts.
    pub fn within(&self, date: Date, time: Time) -> Option<Timestamp> {
        let inside = if self.opens < self.closes {
            self.opens <= time && time < self.closes
        } else {
            self.opens <= time || time < self.closes
        };
        inside.then(|| self.instant(date, time))
    }

    /// The instant of a wall-clock time in or after the night of `date`: a time before the opening is on the next day.
    pub fn instant(&self, date: Date, time: Time) -> Timestamp {
        let date = if time < self.opens { date.tomorrow().unwrap_or(date) } else { date };
        let found = self.zone.to_ambiguous_timestamp(date.to_datetime(time));
        let skipped = matches!(found.offset(), AmbiguousOffset::Gap { .. });
        // Of a skipped time, the earlier reading is before the change, and the change is what follows it.
        let change = || Some(self.zone.following(found.earlier().ok()?).next()?.timestamp());
        let instant = if skipped { change() } else { found.compatible().ok() };
        instant.unwrap_or(Timestamp::MAX)
    }

    /// The date of the night that is open at `now`, if one is.
    pub fn open_at(&self, now: Timestamp) -> Option<Date> {
        let today = self.today(now);
        [Some(today), today.yesterday().ok()]
            .into_iter()
            .flatten()
            .find(|date| self.opening(*date) <= now && now < self.closing(*date))
    }

    /// The date of the first night that opens after `now`.
    pub fn next_after(&self, now: Timestamp) -> Date {
        let today = self.today(now);
        if self.opening(today) > now { today } else { today.tomorrow().unwrap_or(today) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::civil::{date, time};

    fn window() -> NightWindow {
        NightWindow {
            opens: time(22, 0, 0, 0),
            closes: time(4, 0, 0, 0),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_night_has_one_spelling() {
        for good in ["2026-11-22", "2026-11-22.1"] {
            assert_eq!(good.parse::<Night>().unwrap().to_string(), good);
        }
        for bad in ["", "2026-11-31", "20261122", "2026-11-22.0", "2026-11-22.01", "2026-11-22T00", "../x"] {
            assert!(bad.parse::<Night>().is_err(), "{bad}");
        }
    }

    #[test]
    fn turns_go_one_after_the_other_across_months_and_years() {
        let on = |night: &str| *night.parse::<Night>().unwrap().turn(&["e1", "e2", "e3"]).unwrap();
        assert_eq!(
            ["2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02"].map(on),
            ["e1", "e2", "e3", "e1"]
        );
        assert_ne!(on("2028-02-28"), on("2028-02-29"));
        assert_eq!(on("2026-12-31.1"), on("2026-12-31"), "an extra night is its date's");
        assert_eq!(Night::of(date(2026, 11, 22)).turn::<u8>(&[]), None);
    }

    #[test]
    fn after_midnight_the_night_of_the_evening_before_is_still_open() {
        let window = window();
        assert_eq!(window.open_at(at("2026-11-22T20:59:59Z")), None);
        assert_eq!(window.open_at(at("2026-11-22T21:00:00Z")), Some(date(2026, 11, 22)));
        assert_eq!(window.open_at(at("2026-11-23T02:59:59Z")), Some(date(2026, 11, 22)));
        assert_eq!(window.open_at(at("2026-11-23T03:00:00Z")), None);
        assert_eq!(window.next_after(at("2026-11-23T03:00:00Z")), date(2026, 11, 23));
    }

    #[test]
    fn a_skipped_time_becomes_the_end_of_the_skipped_hour_so_that_times_keep_their_order() {
        let window = window();
        // 2026-03-29: 02:00 becomes 03:00 in Berlin, which is 01:00 UTC.
        let of = |hour, minute| window.within(date(2026, 3, 28), time(hour, minute, 0, 0)).unwrap();
        assert_eq!(of(1, 59), at("2026-03-29T00:59:00Z"));
        assert_eq!(
            [of(2, 0), of(2, 30), of(2, 59), of(3, 0)],
            ["2026-03-29T01:00:00Z"; 4].map(at),
            "no stage of 02:30 starts after one of 03:00"
        );
        assert_eq!(of(3, 10), at("2026-03-29T01:10:00Z"));
        // Lord Howe skips half an hour; Cairo skips midnight.
        let zone = |name| TimeZone::get(name).unwrap();
        let howe = NightWindow { zone: zone("Australia/Lord_Howe"), ..window.clone() };
        assert_eq!(howe.instant(date(2026, 10, 3), time(2, 10, 0, 0)), at("2026-10-03T15:30:00Z"));
        let cairo = NightWindow { zone: zone("Africa/Cairo"), ..window };
        assert_eq!(cairo.instant(date(2026, 4, 23), time(0, 10, 0, 0)), at("2026-04-23T22:00:00Z"));
    }

    #[test]
    fn work_is_possible_in_a_night_of_today_or_yesterday_and_never_removes_by_a_later_date() {
        let window = window();
        // 01:00 on the 23rd in Berlin.
        let now = at("2026-11-23T00:00:00Z");
        for (night, current) in [
            ("2026-11-21", false),
            ("2026-11-22.1", true),
            ("2026-11-23.7", true),
            ("2026-11-24.1", false),
            ("2027-11-23.1", false),
        ] {
            assert_eq!(window.is_current(night.parse().unwrap(), now), current, "{night}");
        }
        assert_eq!(window.as_of("2099-01-01.1".parse().unwrap(), now), date(2026, 11, 23));
        assert_eq!(window.as_of("2026-11-22".parse().unwrap(), now), date(2026, 11, 22));
    }

    #[test]
    fn a_time_in_the_repeated_hour_is_the_first_of_the_two() {
        let window = window();
        // 2026-10-25: 03:00 becomes 02:00 in Berlin.
        let repeated = window.within(date(2026, 10, 24), time(2, 30, 0, 0)).unwrap();
        assert_eq!(repeated, at("2026-10-25T00:30:00Z"));
    }

    #[test]
    fn a_night_within_one_day_and_one_of_twenty_three_hours_work() {
        let zone = TimeZone::UTC;
        let day = NightWindow { opens: time(1, 0, 0, 0), closes: time(5, 0, 0, 0), zone: zone.clone() };
        assert_eq!(day.length(), SignedDuration::from_hours(4));
        assert_eq!(day.within(date(2026, 1, 1), time(0, 30, 0, 0)), None);
        assert_eq!(day.open_at(at("2026-01-01T03:00:00Z")), Some(date(2026, 1, 1)));
        let long = NightWindow { opens: time(1, 0, 0, 0), closes: time(0, 0, 0, 0), zone };
        assert_eq!(long.length(), SignedDuration::from_hours(23));
        assert_eq!(long.closing(date(2026, 1, 1)), at("2026-01-02T00:00:00Z"));
    }
}
