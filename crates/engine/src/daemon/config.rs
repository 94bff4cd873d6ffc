//! The configuration: loading it, and the one in force compared with the files on disk.

use std::sync::Arc;

use nightshift_core::reason::{Reason, ReasonCode};
use nightshift_core::settings::Settings;

/// A valid configuration, and the warnings about it.
#[derive(Debug)]
pub struct LoadedConfig {
    pub settings: Settings,
    pub warnings: Vec<String>,
}

/// Loads the configuration; an error is the text of its diagnostics.
pub type Load = Arc<dyn Fn() -> Result<LoadedConfig, String> + Send + Sync>;

/// Loads it to be in force: its warnings go to the journal.
pub(super) fn load(load: &Load) -> Result<Settings, String> {
    let LoadedConfig { settings, warnings } = load()?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(settings)
}

/// The identity of this host and its directories cannot change while the daemon runs.
pub(super) fn same_host(old: &Settings, fresh: &Settings) -> Result<(), String> {
    let fixed =
        |of: &Settings| (of.cluster.clone(), of.this.clone(), of.paths.clone(), of.vault.path.clone());
    if fixed(old) == fixed(fresh) {
        return Ok(());
    }
    Err("cluster, host name, vault and paths change only with a restart; run `systemctl restart nightshift`"
        .to_owned())
}

/// What an operator has to do if the last reload was refused, or if the files on disk are not what is in force.
pub(super) fn difference(in_force: &Settings, refused: Option<&str>, load: &Load) -> Option<Reason> {
    if let Some(diagnostics) = refused {
        let text = format!(
            "the last reload was refused, and the configuration of before is in force: {}; correct it, then: nightshift reload",
            first_lines(diagnostics)
        );
        return Some(Reason::new(ReasonCode::ConfigRefused, text));
    }
    let text = match load() {
        Ok(on_disk) if on_disk.settings == *in_force => return None,
        Ok(on_disk) => match same_host(in_force, &on_disk.settings) {
            Ok(()) => {
                "the configuration on disk is not the one in force; load it: nightshift reload".to_owned()
            }
            Err(restart) => format!("the configuration on disk is not the one in force: {restart}"),
        },
        Err(diagnostics) => format!(
            "the configuration on disk is invalid, and the one of before is in force: {}; see: nightshift check",
            first_lines(&diagnostics)
        ),
    };
    Some(Reason::new(ReasonCode::ConfigDiffers, text))
}

/// What is wrong, and where: the first two lines. Those after them quote the file.
fn first_lines(diagnostics: &str) -> String {
    let lines: Vec<&str> =
        diagnostics.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    lines.join(" ")
}
