//! `[drill]`: which hosts prove that stored copies restore, with which programs, and with which limits.

use nightshift_core::inventory::Inventory;
use nightshift_core::name::HostName;
use nightshift_core::role::Role;
use nightshift_core::settings::{DrillSettings, EtcdTools};

use crate::ledger::Ledger;
use crate::nearest::nearest;
use crate::refusal::Refusal;
use crate::units::{self, Size};
use crate::{check, defaults, raw};

const SCRATCH: &str = "/var/lib/nightshift-drill, the state directory of the drill's unit";

pub(super) fn drill(raw: &raw::Drill, inventory: &Inventory, ledger: &mut Ledger<'_>) -> DrillSettings {
    ledger.section("[drill]");
    DrillSettings {
        hosts: hosts(raw, inventory, ledger),
        etcd_tools: ledger.take("etcd-tools", &raw.etcd_tools, EtcdTools::Auto, etcd_tools),
        scratch: ledger.take_optional("scratch", &raw.scratch, SCRATCH, check::path),
        rate: ledger.take("rate", &raw.rate, Size(defaults::DRILL_RATE), rate).0,
        deadline: ledger
            .take("deadline", &raw.deadline, defaults::DRILL_DEADLINE, |text| units::some_duration(text)),
    }
}

/// The hosts that run drills in turn. By default these are the etcd hosts, because etcd's programs are installed there.
fn hosts(raw: &raw::Drill, inventory: &Inventory, ledger: &mut Ledger<'_>) -> Vec<HostName> {
    let default = || inventory.with_role(Role::Etcd).map(|host| host.name.clone()).collect();
    ledger.take_list("hosts", &raw.hosts, default, |word| host(word, inventory))
}

fn host(word: &str, inventory: &Inventory) -> Result<HostName, Refusal> {
    let name = word.to_ascii_lowercase();
    let known = inventory.hosts().find(|host| host.name.as_str() == name).ok_or_else(|| {
        Refusal::new(format!("`{name}` is not in any group of [hosts]"))
            .meant(nearest(&name, inventory.hosts().map(|host| host.name.as_str())))
            .help("list masters or etcd hosts of the inventory")
    })?;
    if known.roles.has(Role::Master) || known.roles.has(Role::Etcd) {
        return Ok(known.name.clone());
    }
    Err(Refusal::new(format!("{name} has no etcd set to restore; its roles are: {}", known.roles))
        .help("list masters or etcd hosts of the inventory"))
}

fn etcd_tools(text: &String) -> Result<EtcdTools, Refusal> {
    match text.as_str() {
        "auto" => Ok(EtcdTools::Auto),
        "none" => Ok(EtcdTools::None),
        path if path.starts_with('/') => Ok(EtcdTools::Directory(check::path(text)?)),
        other => Err(Refusal::new(format!("`{other}` is neither `auto`, `none` nor an absolute path"))
            .meant(nearest(other, ["auto", "none"]))
            .help("write `auto`, `none`, or the directory with etcd's programs, such as `/opt/etcd-3.4`")),
    }
}

fn rate(text: &String) -> Result<Size, Refusal> {
    match units::size(text)? {
        0..1_000_000 => {
            Err(Refusal::new(format!("{text} per second is too slow: a drill would last for hours"))
                .help("write at least `1MB`; the default is `50MB`"))
        }
        rate => Ok(Size(rate)),
    }
}
