//! What follows from the newest night and what is stored of it.

use super::{EtcdState, NightReport};
use crate::outcome::Grade;
use crate::role::Role;
use crate::set_path::SetId;

impl NightReport {
    /// The best sets that are copies only if an operator accepts them. The record of a closed night does not change, so the grade of an
    /// etcd set is that of the vault, which has the acceptances too.
    pub fn awaiting_acceptance(&self) -> Vec<&SetId> {
        let recorded = self.record.expected.iter().filter_map(|it| self.record.best_set(&it.host, it.role));
        let in_vault = |set: &SetId| {
            let of_host = |it: &&EtcdState| set.role == Role::Etcd && it.set.host == set.host;
            self.etcd.iter().find(of_host).map(|it| (&it.set, Some(it.grade)))
        };
        recorded
            .map(|stored| in_vault(&stored.set).unwrap_or((&stored.set, stored.grade)))
            .filter(|(_, grade)| grade.is_some_and(Grade::awaits_acceptance))
            .map(|(set, _)| set)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Fate, Line, Record, Step};

    /// A closed night in which the etcd set of `e1` was pulled as suspicious.
    fn suspicious() -> (NightReport, SetId) {
        let lines = include_str!("../record/format_1.jsonl").lines();
        let lines: Vec<Line> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut record = Record::from_lines(lines.clone()).unwrap();
        let mut report = lines
            .into_iter()
            .find_map(|line| match line.step {
                Step::Set(report) => Some(report),
                _ => None,
            })
            .unwrap();
        report.set = SetId::first("e1".parse().unwrap(), record.night, Role::Etcd);
        (report.fate, report.grade) = (Fate::Pulled, Some(Grade::Suspicious));
        let set = report.set.clone();
        record.expected.truncate(1);
        (record.expected[0].host, record.expected[0].role) = (set.host.clone(), Role::Etcd);
        record.sets = vec![report];
        let night = NightReport {
            open: false,
            stopped: false,
            settled: true,
            verdict: crate::outcome::Verdict::Degraded,
            reasons: Vec::new(),
            tolerated: Vec::new(),
            record,
            progress: Vec::new(),
            waits: Vec::new(),
            etcd: Vec::new(),
            unreadable: Vec::new(),
            gone: Default::default(),
        };
        (night, set)
    }

    #[test]
    fn a_suspicious_etcd_set_of_a_closed_night_waits_until_it_is_accepted_in_the_vault() {
        let (mut night, set) = suspicious();
        assert_eq!(night.awaiting_acceptance(), [&set], "of a host without that set");
        for (grade, waits) in [(Grade::Suspicious, true), (Grade::Diverged, true), (Grade::Good, false)] {
            let state = EtcdState {
                set: set.clone(),
                grade,
                verified: String::new(),
                agreed: None,
                agreement: None,
                drills: Vec::new(),
                secrets: None,
                masters: Vec::new(),
                remotes: Vec::new(),
                without_masters: false,
            };
            night.etcd = vec![state];
            assert_eq!(!night.awaiting_acceptance().is_empty(), waits, "{grade}");
        }
    }
}
