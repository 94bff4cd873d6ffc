//! Which sets should be in the vault of a host at the end of a night.

use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::outcome::Grade;
use nightshift_core::record::{Expected, NEW_FOR_NIGHTS, Record, is_new};
use nightshift_core::role::Role;
use nightshift_core::settings::{EtcdMembers, Settings};
use nightshift_store::Vault;
use nightshift_store::records::Records;

/// The own sets of this host; on a master, those of all expected hosts, and one etcd set of any host if no etcd host is expected:
/// without it a night is not a backup of the cluster.
pub fn sets(settings: &Settings) -> Vec<Expected> {
    let master = settings.roles().has(Role::Master);
    let no_etcd = !settings.inventory.with_role(Role::Etcd).any(|host| host.expected);
    let any_etcd = no_etcd || settings.etcd.members == EtcdMembers::One;
    settings
        .inventory
        .hosts()
        .filter(|host| master || host.name == settings.this)
        .flat_map(|host| host.roles.iter().map(move |role| (host, role)))
        .filter(|(host, role)| host.expected || (master && no_etcd && *role == Role::Etcd))
        .map(|(host, role)| {
            let any = role == Role::Etcd && any_etcd;
            Expected { host: host.name.clone(), role, new: false, any, last_good: None }
        })
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
        if !settings.tolerate.is_none() && one.role == Role::Node && one.host != settings.this {
            one.last_good = last_good(&vault, one, night);
        }
    }
    expected
}

/// What cannot be read is not a good set, so that the node is not tolerated.
fn last_good(vault: &Vault, expected: &Expected, night: Night) -> Option<Night> {
    let good = vault.earlier(&expected.host, night, expected.role, |grade| grade == Grade::Good);
    good.ok().flatten().map(|manifest| manifest.night)
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

#[cfg(test)]
mod tests {
    use nightshift_core::inventory::Host;

    use super::*;
    use crate::testing;

    fn expected_of(hosts: &[(&str, Role, bool)]) -> Vec<(String, Role, bool)> {
        let host = |(name, role, expected): &(&str, Role, bool)| Host {
            expected: *expected,
            ..testing::host(name, *role)
        };
        let settings = testing::settings(std::path::Path::new("/tmp"), hosts.iter().map(host).collect());
        sets(&settings).into_iter().map(|one| (one.host.to_string(), one.role, one.any)).collect()
    }

    #[test]
    fn a_master_expects_one_etcd_set_even_if_no_etcd_host_is_expected() {
        let master = ("m1", Role::Master, true);
        let own = ("m1".to_owned(), Role::Master, false);
        let etcd = |name: &str, any| (name.to_owned(), Role::Etcd, any);
        let one = expected_of(&[master, ("e1", Role::Etcd, false), ("e2", Role::Etcd, true)]);
        assert_eq!(one, [etcd("e2", false), own.clone()]);
        let none = expected_of(&[master, ("e1", Role::Etcd, false), ("e2", Role::Etcd, false)]);
        assert_eq!(none, [etcd("e1", true), etcd("e2", true), own.clone()]);
        assert_eq!(expected_of(&[master, ("n1", Role::Node, false)]), [own]);
    }
}
