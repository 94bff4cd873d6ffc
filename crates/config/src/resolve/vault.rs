//! `[vault]`, and the `keep` that it shares with remotes.

use nightshift_core::retention::Keep;
use nightshift_core::settings::{Paths, VaultSettings};

use crate::ledger::Ledger;
use crate::units::{self, Size};
use crate::{check, defaults, raw};

pub(super) fn vault(raw: &raw::Vault, paths: &Paths, ledger: &mut Ledger<'_>) -> VaultSettings {
    ledger.section("[vault]");
    let size = |text: &String| units::size(text).map(Size);
    let most = |text: &String| units::some_size(text).map(Size);
    VaultSettings {
        path: ledger.take("path", &raw.path, defaults::vault(&paths.state), check::path),
        keep: keep("keep", &raw.keep, defaults::KEEP, ledger),
        keep_etcd: keep("keep-etcd", &raw.keep_etcd, defaults::KEEP_ETCD, ledger),
        min_free: ledger.take("min-free", &raw.min_free, Size(defaults::MIN_FREE), size).0,
        most_per_node: ledger
            .take("most-per-node", &raw.most_per_node, Size(defaults::MOST_PER_NODE), most)
            .0,
        most_per_master: ledger
            .take("most-per-master", &raw.most_per_master, Size(defaults::MOST_PER_MASTER), most)
            .0,
    }
}

/// How many nights, weeks and months are kept. An unset key has its default, so that a drop-in can set only one of them.
pub(super) fn keep(key: &str, raw: &raw::Keep, default: Keep, ledger: &mut Ledger<'_>) -> Keep {
    Keep {
        nights: ledger.take(&format!("{key}.nights"), &raw.nights, default.nights, check::some_nights),
        weeks: ledger.take(&format!("{key}.weeks"), &raw.weeks, default.weeks, check::any),
        months: ledger.take(&format!("{key}.months"), &raw.months, default.months, check::any),
    }
}
