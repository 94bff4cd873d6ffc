//! A stage's `at`: five fields as in a crontab, matched against the date of the night.

use std::fmt;
use std::str::FromStr;

use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Direction};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use crate::night::NightWindow;

/// A crontab expression. A date must match both the day of the month and the weekday if one of these fields begins with `*`, else
/// either of them is enough, as in crontab(5).
#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// Why an expression is refused; [`hint`](ScheduleError::hint) describes what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("nicknames such as `{0}` are unsupported")]
    Nickname(String),
    #[error("this expression has {0} fields, but a crontab expression has five")]
    Fields(usize),
    #[error("`{0}` is unsupported in a crontab field")]
    Extension(String),
    #[error("invalid crontab expression `{0}`")]
    Malformed(String),
    #[error("this expression never fires")]
    Never,
    #[error(
        "this expression fires at {}, but the night is open from {} to {}",
        clock(*fires),
        clock(*opens),
        clock(*closes)
    )]
    OutsideTheNight { fires: Time, opens: Time, closes: Time },
    #[error(
        "this expression fires {times} times in a night (first at {} and {}), but a stage runs once a night",
        clock(*first),
        clock(*second)
    )]
    TooOften { times: usize, first: Time, second: Time },
}

/// A time in minutes: crontab expressions have no seconds.
fn clock(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

impl ScheduleError {
    pub fn hint(&self) -> String {
        match self {
            Self::Nickname(_) => "write five fields: minute hour day-of-month month weekday, such as `30 22 * * *`".into(),
            Self::Fields(6) => "leave out the seconds: minute hour day-of-month month weekday, such as `30 22 * * *`".into(),
            Self::Fields(_) | Self::Malformed(_) => {
                "minute (0-59) hour (0-23) day-of-month (1-31) month (1-12) weekday (0-7), such as `30 22 * * *`".into()
            }
            Self::Extension(_) => "use only numbers, names such as `mon` or `jan`, `*`, `,`, `-` and `/`".into(),
            Self::Never => "the date does not exist in any year".into(),
            Self::OutsideTheNight { .. } => {
                "choose a time within the night, or change `[night] opens` and `closes`".into()
            }
            Self::TooOften { first, .. } => {
                format!("write one minute and hour, such as `{} {} * * *`", first.minute(), first.hour())
            }
        }
    }
}

impl Schedule {
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let trimmed = text.trim();
        if trimmed.starts_with('@') {
            return Err(ScheduleError::Nickname(trimmed.to_owned()));
        }
        let fields: Vec<&str> = trimmed.split_whitespace().collect();
        if fields.len() != 5 {
            return Err(ScheduleError::Fields(fields.len()));
        }
        if let Some(field) = fields.iter().find(|field| !is_crontab(field)) {
            return Err(ScheduleError::Extension((*field).to_owned()));
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow([fields[2], fields[4]].iter().any(|field| field.starts_with('*')))
            .build()
            .parse(&fields.join(" "))
            .map_err(|_| ScheduleError::Malformed(fields.join(" ")))?;
        let schedule = Self { text: fields.join(" "), cron };
        // croner searches far enough: the longest gap between two dates is the eight years between two leap days around 2100.
        let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        schedule.cron.find_next_occurrence(&start, true).map_err(|_| ScheduleError::Never)?;
        Ok(schedule)
    }

    /// The times of day at which it fires on `date`.
    ///
    /// Computed in UTC, where no hour is skipped or repeated; `NightWindow` applies the time zone.
    fn times_on(&self, date: Date) -> Vec<Time> {
        let Ok(midnight) = date.to_zoned(TimeZone::UTC) else { return Vec::new() };
        self.cron
            .iter_from(midnight, Direction::Forward)
            .take_while(|time| time.date() == date)
            .map(|time| time.time())
            .collect()
    }

    /// The time of day at which it first fires; it is the same on every date on which it fires.
    pub fn time_of_day(&self) -> Option<Time> {
        let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        self.cron.find_next_occurrence(&start, true).ok().map(|time| time.time())
    }

    /// Refuses an expression that fires outside the night, or more than once in a night.
    pub fn check(&self, window: &NightWindow) -> Result<(), ScheduleError> {
        // It fires at the same times on every day on which it fires, so it is enough to check the first such day.
        let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        let first = self.cron.find_next_occurrence(&start, true).map_err(|_| ScheduleError::Never)?;
        let date = first.date();
        let (inside, outside): (Vec<Time>, Vec<Time>) =
            self.times_on(date).into_iter().partition(|time| window.within(date, *time).is_some());
        match (inside.as_slice(), outside.as_slice()) {
            ([], []) => Err(ScheduleError::Never),
            ([first, second, ..], _) => {
                Err(ScheduleError::TooOften { times: inside.len(), first: *first, second: *second })
            }
            (_, [fires, ..]) => Err(ScheduleError::OutsideTheNight {
                fires: *fires,
                opens: window.opens,
                closes: window.closes,
            }),
            ([_], []) => Ok(()),
        }
    }

    /// The instant at which it fires in the night of `date`: day fields are matched against that date,
    /// also after midnight.
    pub fn fires_in(&self, date: Date, window: &NightWindow) -> Option<Timestamp> {
        self.times_on(date).into_iter().find_map(|time| window.within(date, time))
    }
}

/// Whether a field contains only what crontab(5) knows. croner also supports `L`, `W`, `#` and `?`, which cron does not.
fn is_crontab(field: &str) -> bool {
    field.split([',', '-', '/', '*']).all(|word| word.bytes().all(|b| b.is_ascii_digit()) || is_name(word))
}

fn is_name(word: &str) -> bool {
    const NAMES: [&str; 19] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sun", "mon",
        "tue", "wed", "thu", "fri", "sat",
    ];
    NAMES.iter().any(|name| name.eq_ignore_ascii_case(word))
}

impl FromStr for Schedule {
    type Err = ScheduleError;
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::parse(text)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({})", self.text)
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

    fn fires(expression: &str, night: Date) -> Option<String> {
        let at = Schedule::parse(expression).unwrap().fires_in(night, &window())?;
        Some(at.to_zoned(window().zone).strftime("%F %R").to_string())
    }

    #[test]
    fn a_stage_after_midnight_belongs_to_the_night_before() {
        assert_eq!(fires("30 0 * * *", date(2026, 11, 22)).unwrap(), "2026-11-23 00:30");
        assert_eq!(fires("45 23 * * *", date(2026, 11, 22)).unwrap(), "2026-11-22 23:45");
    }

    #[test]
    fn day_fields_are_matched_against_the_night_also_after_midnight() {
        // 2026-11-22 is a Sunday.
        assert_eq!(fires("30 0 * * sun", date(2026, 11, 22)).unwrap(), "2026-11-23 00:30");
        assert_eq!(fires("30 0 * * mon", date(2026, 11, 22)), None);
    }

    #[test]
    fn either_day_field_matches_as_in_a_crontab() {
        assert!(fires("0 22 1 * mon", date(2026, 11, 23)).is_some(), "a Monday");
        assert!(fires("0 22 1 * mon", date(2026, 12, 1)).is_some(), "a first of the month");
        assert!(fires("0 22 1 * mon", date(2026, 11, 24)).is_none(), "neither");
    }

    #[test]
    fn both_day_fields_must_match_if_one_begins_with_a_star_as_in_a_crontab() {
        // 2026-11-22 is a Sunday and an even day, 2026-11-29 a Sunday and an odd one.
        for expression in ["0 22 */2 * sun", "0 22 1-31/2 * */7"] {
            assert!(fires(expression, date(2026, 11, 29)).is_some(), "{expression}: both");
            assert!(fires(expression, date(2026, 11, 22)).is_none(), "{expression}: the weekday alone");
            assert!(fires(expression, date(2026, 11, 23)).is_none(), "{expression}: the day alone");
        }
        let schedule = Schedule::parse("0 22 */2 * sun").unwrap();
        assert!(schedule.check(&window()).is_ok() && schedule.time_of_day() == Some(time(22, 0, 0, 0)));
    }

    #[test]
    fn a_stage_in_the_skipped_hour_and_one_in_the_repeated_hour_fire_once() {
        assert_eq!(fires("30 2 * * *", date(2026, 3, 28)).unwrap(), "2026-03-29 03:00");
        let schedule = Schedule::parse("30 2 * * *").unwrap();
        assert_eq!(
            schedule.fires_in(date(2026, 10, 24), &window()).unwrap().to_string(),
            "2026-10-25T00:30:00Z"
        );
    }

    #[test]
    fn an_invalid_expression_is_refused_with_a_hint() {
        for (bad, hint) in [
            ("@daily", "five fields"),
            ("0 0 22 * * *", "seconds"),
            ("22 *", "minute (0-59)"),
            ("0 24 * * *", "hour (0-23)"),
            ("61 22 * * *", "minute (0-59)"),
            ("0 22 L * *", "only numbers"),
            ("0 22 * * 5#2", "only numbers"),
            ("0 22 ? * *", "only numbers"),
            ("0 22 30 2 *", "does not exist"),
        ] {
            let error = Schedule::parse(bad).unwrap_err();
            assert!(error.hint().contains(hint), "{bad}: {error:?}");
        }
    }

    #[test]
    fn a_stage_outside_the_night_or_more_than_once_in_it_is_refused() {
        let check = |text: &str| Schedule::parse(text).unwrap().check(&window()).unwrap_err();
        assert!(matches!(check("0 12 * * *"), ScheduleError::OutsideTheNight { .. }));
        assert!(matches!(check("0 4 * * *"), ScheduleError::OutsideTheNight { .. }));
        assert!(matches!(check("*/5 22 * * *"), ScheduleError::TooOften { times: 12, .. }));
        assert!(matches!(check("0 22,1 * * *"), ScheduleError::TooOften { times: 2, .. }));
        assert!(matches!(check("0 12,22 * * *"), ScheduleError::OutsideTheNight { .. }));
        assert!(Schedule::parse("0 22 29 2 *").unwrap().check(&window()).is_ok());
    }
}
