//! `[metrics]`: where the daemon writes metrics.

use std::path::PathBuf;

use nightshift_core::settings::MetricsSettings;

use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::{check, raw};

pub(super) fn metrics(raw: &raw::Metrics, ledger: &mut Ledger<'_>) -> MetricsSettings {
    ledger.section("[metrics]");
    MetricsSettings { textfile: ledger.take_optional("textfile", &raw.textfile, "", textfile) }
}

fn textfile(text: &String) -> Result<PathBuf, Refusal> {
    let path = check::path(text)?;
    if path.extension().is_some_and(|extension| extension == "prom") {
        return Ok(path);
    }
    Err(Refusal::new(format!("`{text}` does not end in `.prom`, so node_exporter would not read it"))
        .help("write a path such as `/var/lib/prometheus/node-exporter/nightshift.prom`"))
}
