//! When a lab's night opens, what is due in it when, and when it closes: in minutes from now.

use std::time::{SystemTime, UNIX_EPOCH};

const A_DAY: i64 = 24 * 60;

/// Minutes of the day in UTC. What lies past midnight belongs to the same night.
#[derive(Clone, Debug)]
pub struct Schedule {
    now: i64,
    pub(super) opens: u16,
    /// When sets are made and pulled.
    pub(super) collects: u16,
    /// When they are packed and shipped, and old ones pruned.
    pub(super) packs: u16,
    /// How long pulls wait for peers.
    pub(super) until: u16,
    pub(super) closes: u16,
}

impl Schedule {
    /// A night that has been open for ten minutes, with everything due so many minutes from now; past ones are to be caught
    /// up. Pulls wait for twenty minutes after that, and it closes in three hours.
    pub fn due_in(minutes: i64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(since_epoch / 60).unwrap_or_default() % A_DAY;
        let later = |minutes| minute_of_day(now + minutes);
        Self {
            now,
            opens: later(-10),
            collects: later(minutes),
            packs: later(minutes),
            until: later(minutes + 20),
            closes: later(180),
        }
    }

    /// The same night with its stages at other times, in minutes from when it was first laid out.
    pub fn moved(&self, collects_in: i64, packs_in: i64) -> Self {
        let later = |minutes| minute_of_day(self.now + minutes);
        Self {
            collects: later(collects_in),
            packs: later(packs_in),
            until: later(collects_in + 20),
            ..self.clone()
        }
    }

    /// How many minutes from when it was first laid out pulls wait, and when the night closes.
    pub fn ending(&self, until_in: i64, closes_in: i64) -> Self {
        let later = |minutes| minute_of_day(self.now + minutes);
        Self { until: later(until_in), closes: later(closes_in), ..self.clone() }
    }

    /// Minutes that have passed since it was laid out.
    pub fn minutes_gone(&self) -> i64 {
        (Self::due_in(0).now - self.now).rem_euclid(A_DAY)
    }
}

fn minute_of_day(minute: i64) -> u16 {
    u16::try_from(minute.rem_euclid(A_DAY)).unwrap_or_default()
}

pub(super) fn clock(minute_of_day: u16) -> String {
    format!("{:02}:{:02}", minute_of_day / 60, minute_of_day % 60)
}
