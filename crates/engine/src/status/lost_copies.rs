//! The archives on remotes that were found gone or damaged after they were shipped.

use nightshift_core::night::Night;
use nightshift_core::record::LostCopies;
use nightshift_store::records::Records;

/// What the nights from this one on found: an archive of it was not shipped earlier. A record that cannot be read is a warning of its
/// own. Blocks.
pub fn since(records: &Records, night: Night) -> LostCopies {
    let mut lost = LostCopies::default();
    let nights = records.nights().unwrap_or_default().into_iter().filter(|it| it.date >= night.date);
    for record in nights.filter_map(|night| records.read(night).ok().flatten()) {
        lost.add(&record);
    }
    lost
}
