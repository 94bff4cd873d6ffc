//! The last night that is restorable, the last complete one, and the one before the newest.

use std::collections::BTreeSet;

use nightshift_core::night::Night;
use nightshift_core::outcome::Verdict;
use nightshift_core::reason::Reason;
use nightshift_core::record::Record;
use nightshift_core::restorable::Restorable;
use nightshift_core::summary;
use nightshift_store::records::Records;

use super::warnings::{self, failed_after};

/// Among how many of the newest nights a complete one is searched. Where one host is always missing there is none, and to read the
/// records of more than a year takes longer than a client waits.
const MAX_SEARCHED: usize = 31;

#[derive(Default)]
pub(super) struct LastNights {
    pub before: Option<(Night, Verdict)>,
    pub complete: Option<Night>,
    pub restorable: Option<Record>,
    /// What failed after the newest one that has closed.
    pub hooks: Option<Vec<Reason>>,
}

impl LastNights {
    /// Reads nights, the newest first, until no older one can change the result.
    pub fn read<'n>(
        records: &Records,
        nights: impl Iterator<Item = &'n Night>,
        newest: Option<&Record>,
        warnings: &mut BTreeSet<Reason>,
    ) -> Self {
        let mut last = Self::default();
        for (index, night) in nights.enumerate() {
            if last.before.is_some()
                && last.restorable.is_some()
                && (last.complete.is_some() || index >= MAX_SEARCHED)
            {
                break;
            }
            match records.read(*night) {
                Ok(Some(record)) => last.add(record, newest.is_some_and(|it| it.night == *night)),
                Ok(None) => {}
                Err(error) => drop(warnings.insert(warnings::not_read(&error))),
            }
        }
        last
    }

    /// Adds a night; call it with the newest first.
    fn add(&mut self, record: Record, is_newest: bool) {
        let night = record.night;
        if verdict(&record) == Some(Verdict::Complete) {
            self.complete.get_or_insert(night);
        }
        if let Some(closed) = &record.closed {
            self.hooks.get_or_insert_with(|| failed_after(&record).collect());
            if !is_newest {
                self.before.get_or_insert((night, closed.verdict));
            }
            // Other hosts than masters, and earlier versions, make no plan.
            let has_plan = record.restorable.as_ref().is_none_or(Restorable::is_restorable);
            if closed.verdict.is_restorable() && has_plan {
                self.restorable.get_or_insert(record);
            }
        }
    }
}

/// The verdict of a night of which nothing is left to do. That of a closed one is in its record: to judge it again would be slow.
fn verdict(record: &Record) -> Option<Verdict> {
    match &record.closed {
        Some(closed) => Some(closed.verdict),
        None => record.is_settled().then(|| summary::judge(record).verdict),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::ToSpan as _;
    use nightshift_core::record::{Closed, Line};

    use super::*;

    /// The records of this many nights in a row, all degraded but the first, the complete one.
    fn nights(directory: &std::path::Path, count: usize) -> (Records, Vec<Night>) {
        let records = Records::new(directory);
        let lines = include_str!("../../../core/src/record/format_1.jsonl").lines();
        let lines = lines.map(|line| serde_json::from_str::<Line>(line).unwrap());
        let mut record = Record::from_lines(lines).unwrap();
        let first: Night = "2026-01-01".parse().unwrap();
        let dates = first.date.series(1.day()).take(count);
        let nights: Vec<Night> = dates.map(|date| date.to_string().parse().unwrap()).collect();
        std::fs::create_dir_all(directory).unwrap();
        for night in &nights {
            let verdict = if *night == first { Verdict::Complete } else { Verdict::Degraded };
            record.night = *night;
            record.closed = Some(Closed { at: record.newest, verdict, reasons: Vec::new() });
            records.close(&record).unwrap();
        }
        (records, nights)
    }

    #[test]
    fn a_complete_night_is_searched_among_the_newest_nights_only() {
        for (count, is_found) in [(MAX_SEARCHED, true), (MAX_SEARCHED + 1, false)] {
            let dir = tempfile::tempdir().unwrap();
            let (records, nights) = nights(dir.path(), count);
            let (mut warnings, newest) = (BTreeSet::new(), records.read(*nights.last().unwrap()).unwrap());
            let last = LastNights::read(&records, nights.iter().rev(), newest.as_ref(), &mut warnings);
            assert_eq!(last.complete, is_found.then_some(nights[0]), "{count} nights");
            assert_eq!(last.restorable.map(|it| it.night), nights.last().copied());
            assert_eq!(last.before.map(|(night, _)| night), Some(nights[count - 2]));
            assert_eq!(warnings, BTreeSet::new());
        }
    }

    #[test]
    fn a_restorable_night_is_searched_among_all() {
        let dir = tempfile::tempdir().unwrap();
        let (records, nights) = nights(dir.path(), MAX_SEARCHED + 2);
        let failed =
            Closed { at: jiff::Timestamp::UNIX_EPOCH, verdict: Verdict::Failed, reasons: Vec::new() };
        for night in &nights[1..] {
            let mut record = records.read(*night).unwrap().unwrap();
            record.closed = Some(failed.clone());
            std::fs::remove_file(dir.path().join(format!("{night}.json"))).unwrap();
            records.close(&record).unwrap();
        }
        let last = LastNights::read(&records, nights.iter().rev(), None, &mut BTreeSet::new());
        assert_eq!(last.restorable.map(|it| it.night), Some(nights[0]));
        assert_eq!(last.complete, Some(nights[0]));
    }
}
