//! Which sets a host should hold when a night is over.

use nightshift_core::record::Expected;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;

/// Its own sets; on a master those of every host that is expected.
pub fn sets(settings: &Settings) -> Vec<Expected> {
    let master = settings.roles().has(Role::Master);
    settings
        .inventory
        .hosts()
        .filter(|host| host.expected && (master || host.name == settings.this))
        .flat_map(|host| host.roles.iter().map(|role| Expected { host: host.name.clone(), role, new: false }))
        .collect()
}
