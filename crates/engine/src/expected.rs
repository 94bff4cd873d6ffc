//! Which sets should be in the vault of a host at the end of a night.

use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::record::{Expected, NEW_FOR_NIGHTS, Record, is_new};
use nightshift_core::role::Role;
use nightshift_core::settings::{EtcdMembers, Settings};
use nightshift_store::Vault;
use nightshift_store::records::Records;

/// The own sets of this host; on a master, those of all expected hosts.
pub fn sets(settings: &Settings) -> Vec<Expected> {
    let master = settings.roles().has(Role::Master);
    let any = |role| role == Role::Etcd && settings.etcd.members == EtcdMembers::One;
    settings
        .inventory
        .hosts()
        .filter(|host| host.expected && (master || host.name == settings.this))
        .flat_map(|host| host.roles.iter().map(|role| (host.name.clone(), role)))
        .map(|(host, role)| Expected { host, role, new: false, any: any(role) })
        .collect()
}

/// The same for one night: a host that was added to the inventory recently and has not published a set yet is `new`.
pub fn of_night(settings: &Settings, records: &Records, night: Night) -> Vec<Expected> {
    let earlier = earlier_nights(records, night);
    let vault = Vault::of(settings);
    let mut expected = sets(settings);
    for one in &mut expected {
        one.new = one.host != settings.this
            && is_new(&one.host, one.role, &earlier)
            && vault.previous(&one.host, night, one.role).is_ok_and(|previous| previous.is_none());
    }
    expected
}

/// The last scheduled nights before this one, newest first.
fn earlier_nights(records: &Records, night: Night) -> Vec<Record> {
    let nights = records.nights().unwrap_or_else(|error| {
        tracing::warn!(
            "cannot read earlier records, so new hosts will be reported as missing: {}",
            chain(&error)
        );
        Vec::new()
    });
    let earlier = nights.into_iter().rev().filter(|earlier| !earlier.is_extra() && *earlier < night);
    earlier.filter_map(|night| records.read(night).ok().flatten()).take(NEW_FOR_NIGHTS + 1).collect()
}
