//! Nights that an operator keeps from retention.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::night::Night;
use crate::text::Text;

/// How many nights are kept at most: each of them costs space for as long.
pub const MAX_KEPT: usize = 100;

/// The nights that this host keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeptNights(BTreeMap<Night, KeptNight>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptNight {
    /// To the end of this day; forever if it is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// The operator.
    pub by: Text,
    pub at: Timestamp,
}

impl KeptNights {
    /// Whether a night is kept on this day.
    pub fn of(&self, night: Night, today: Date) -> Option<&KeptNight> {
        self.0.get(&night).filter(|kept| kept.until.is_none_or(|until| today <= until))
    }

    /// Keeps a night, and forgets those whose time is over. False if too many are kept.
    pub fn keep(&mut self, night: Night, kept: KeptNight, today: Date) -> bool {
        self.0.retain(|_, kept| kept.until.is_none_or(|until| today <= until));
        if self.0.len() >= MAX_KEPT && !self.0.contains_key(&night) {
            return false;
        }
        self.0.insert(night, kept);
        true
    }

    /// The policy decides about the night again. False if it was not kept.
    pub fn release(&mut self, night: Night) -> bool {
        self.0.remove(&night).is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_night_is_kept_to_the_end_of_the_day_or_forever() {
        let mut nights = KeptNights::default();
        let kept = |until| KeptNight { until, by: "alice".into(), at: Timestamp::UNIX_EPOCH };
        let (one, other) = (Night::of(date(2026, 11, 22)), Night::of(date(2026, 11, 21)));
        assert!(nights.keep(one, kept(Some(date(2026, 12, 24))), date(2026, 11, 22)));
        assert!(nights.keep(other, kept(None), date(2026, 11, 22)));
        assert!(nights.of(one, date(2026, 12, 24)).is_some());
        assert!(nights.of(one, date(2026, 12, 25)).is_none());
        assert!(nights.of(other, date(2099, 1, 1)).is_some());
        assert!(nights.of("2026-11-22.1".parse().unwrap(), date(2026, 11, 22)).is_none(), "of its own name");
        assert!(nights.release(other) && !nights.release(other));
    }
}
