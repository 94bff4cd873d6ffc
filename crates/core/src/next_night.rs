//! Which night of the schedule opens next. The agenda opens no other one, and `status` and `plan` promise no other one.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::night::Night;
use crate::plan::NightPlan;
use crate::settings::Settings;
use crate::units::local_time;

/// Some dates have no stage; a schedule has one at least once a month.
pub const MAX_DAYS: usize = 40;

/// The nights that open, from a date on: not those without a stage, and not those that are recorded, because a recorded night never
/// opens again.
pub fn nights_from(
    settings: &Settings,
    first: Date,
    is_recorded: impl Fn(Night) -> bool,
) -> impl Iterator<Item = NightPlan> {
    let dates = std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(MAX_DAYS);
    let new = dates.filter(move |date| !is_recorded(Night::of(*date)));
    new.map(|date| NightPlan::of(settings, date)).filter(|plan| !plan.stages.is_empty())
}

/// When the next night opens.
pub fn next_opening(settings: &Settings, now: Timestamp, is_recorded: impl Fn(Night) -> bool) -> Timestamp {
    let next = settings.window.next_after(now);
    let opens = nights_from(settings, next, is_recorded).next().map(|plan| plan.opens);
    opens.unwrap_or_else(|| settings.window.opening(next))
}

/// A night of the schedule that does not open at its time, because a night of its date is recorded already: `opens` or `time-zone` was
/// changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedNight {
    pub night: Night,
    /// When it would open.
    pub at: Timestamp,
    /// When the next night opens.
    pub next: Timestamp,
}

impl SkippedNight {
    /// The next opening of the schedule, if no night opens then.
    pub fn next(settings: &Settings, now: Timestamp, is_recorded: impl Fn(Night) -> bool) -> Option<Self> {
        Self::of(settings, settings.window.next_after(now), now, is_recorded)
    }

    /// The night of a date, if it is recorded.
    pub fn of(
        settings: &Settings,
        date: Date,
        now: Timestamp,
        is_recorded: impl Fn(Night) -> bool,
    ) -> Option<Self> {
        let night = Night::of(date);
        if !is_recorded(night) || NightPlan::of(settings, date).stages.is_empty() {
            return None;
        }
        let next = next_opening(settings, now, is_recorded);
        Some(Self { night, at: settings.window.opening(date), next })
    }

    pub fn reason(&self, zone: &TimeZone) -> String {
        format!(
            "a night of that date is recorded already, and a recorded night never opens again; the next night opens at {}; \
             for a backup before it: nightshift run night",
            local_time(self.next, zone)
        )
    }

    pub fn text(&self, zone: &TimeZone) -> String {
        let Self { night, at, .. } = self;
        format!("night {night} does not open at {}: {}", local_time(*at, zone), self.reason(zone))
    }
}
