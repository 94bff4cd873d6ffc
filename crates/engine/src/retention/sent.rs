//! Which shipped archives in `sent/` are over the limit of `keep-sent`.

use nightshift_core::archive::ArchiveName;
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_store::records::Records;

/// The shipped archives over the limit of `keep-sent`, but none of tonight's: the number of the next edition follows from their
/// names. The newest one with an etcd snapshot stays too, unless none is to be kept. `sent` is oldest first. Blocks.
pub fn over_limit(settings: &Settings, sent: &[ArchiveName], tonight: Night) -> Vec<ArchiveName> {
    let keep = settings.archive.keep_sent;
    let over = sent.iter().take(sent.len().saturating_sub(keep));
    let mut over: Vec<_> = over.filter(|archive| archive.night() != tonight).cloned().collect();
    // The records are read only where they can change what is removed.
    if keep > 0 && !over.is_empty() {
        let newest = newest_with_etcd(settings, sent);
        over.retain(|archive| Some(archive) != newest);
    }
    over
}

/// Why an archive over that limit is removed.
pub fn shipped_reason(keep: usize) -> String {
    format!("every remote has it, and the newest {keep} are kept here")
}

/// The newest archive from which etcd can be restored, by the records of their nights; `None` where no host has etcd.
fn newest_with_etcd<'a>(settings: &Settings, sent: &'a [ArchiveName]) -> Option<&'a ArchiveName> {
    settings.inventory.with_role(Role::Etcd).next()?;
    let records = Records::new(settings.paths.records());
    let has_etcd = |archive: &&ArchiveName| {
        let record = records.read(archive.night()).unwrap_or_else(|error| {
            tracing::warn!("{}", chain(&error));
            None
        });
        record.is_some_and(|record| record.archives_with_etcd().any(|name| name == archive.to_string()))
    };
    sent.iter().rfind(has_etcd)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;
    use nightshift_core::outcome::{Grade, Verdict};

    use super::*;
    use crate::retention::archives::tests::{name, night};
    use crate::testing;

    #[test]
    fn the_newest_shipped_archive_with_etcd_stays_over_the_limit_unless_none_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = vec![testing::host("m1", Role::Master), testing::host("e1", Role::Etcd)];
        let mut settings = testing::settings(dir.path(), hosts);
        let records = Records::new(settings.paths.records());
        std::fs::create_dir_all(settings.paths.records()).unwrap();
        let days = [20, 21, 22, 23].map(|day| date(2026, 11, day));
        let grades = [Some(Grade::Good), Some(Grade::Good), Some(Grade::Bad), None];
        for (day, grade) in days.into_iter().zip(grades) {
            records.close(&night(day, grade, Verdict::Failed)).unwrap();
        }
        let sent = days.map(name);
        let over = |settings: &Settings| -> Vec<_> {
            let over = over_limit(settings, &sent, Night::of(date(2026, 11, 24)));
            over.into_iter().map(|archive| archive.date).collect()
        };
        settings.archive.keep_sent = 1;
        assert_eq!(over(&settings), [days[0], days[2]]);
        settings.archive.keep_sent = 0;
        assert_eq!(over(&settings), days);
    }
}
