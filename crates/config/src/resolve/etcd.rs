//! `[etcd]`: how to connect to the local member, and the limits of a snapshot.

use nightshift_core::night::NightWindow;
use nightshift_core::settings::EtcdSettings;

use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::units::{self, Percent};
use crate::{check, defaults, raw, url};

const NO_TOOLS: &str = "none, so the kit contains no etcdutl for restores";
const DISCOVERED: &str = "read from etcd.conf or the static pod's manifest";

pub(super) fn etcd(raw: &raw::Etcd, window: Option<&NightWindow>, ledger: &mut Ledger<'_>) -> EtcdSettings {
    pairs(raw, ledger);
    ledger.section("[etcd]");
    EtcdSettings {
        endpoint: ledger.take_optional("endpoint", &raw.endpoint, DISCOVERED, url::endpoint),
        ca: ledger.take_optional("ca", &raw.ca, DISCOVERED, check::path),
        cert: ledger.take_optional("cert", &raw.cert, DISCOVERED, check::path),
        key: ledger.take_optional("key", &raw.key, DISCOVERED, check::path),
        compression: ledger.take("compression", &raw.compression, defaults::COMPRESSION, check::any),
        stall: ledger.take("stall", &raw.stall, defaults::ETCD_STALL, |text| units::some_duration(text)),
        deadline: ledger
            .take("deadline", &raw.deadline, defaults::ETCD_DEADLINE, |text| units::some_duration(text)),
        conf: ledger.take("conf", &raw.conf, defaults::ETCD_CONF.into(), check::path),
        data: ledger.take("data", &raw.data, defaults::ETCD_DATA, check::any),
        members: ledger.take("members", &raw.members, defaults::ETCD_MEMBERS, check::any),
        slot: ledger.take("slot", &raw.slot, defaults::ETCD_SLOT, |text| units::delay(text, window)),
        suspicious_below: ledger
            .take("suspicious-below", &raw.suspicious_below, Percent(defaults::SUSPICIOUS_BELOW), |text| {
                units::percent(text)
            })
            .0,
        restore_tools: ledger.take_optional("restore-tools", &raw.restore_tools, NO_TOOLS, check::path),
    }
}

/// `cert` and `key` must be set together.
fn pairs(raw: &raw::Etcd, ledger: &mut Ledger<'_>) {
    let (present, absent) = match (&raw.cert, &raw.key) {
        (Some(cert), None) => (cert, ("cert", "key")),
        (None, Some(key)) => (key, ("key", "cert")),
        _ => return,
    };
    let refusal = Refusal::new(format!("`{}` is set without `{}`", absent.0, absent.1))
        .help("set both, or neither; without them, both are read from etcd.conf");
    ledger.refuse(Some(&present.span()), refusal);
}
