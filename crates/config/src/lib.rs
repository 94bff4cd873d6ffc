//! Reads the text of a config into [`Settings`], or into a diagnostic for each error.
//!
//! It does no IO: the caller reads the files and looks up time zones.

mod age_key;
mod alone;
mod check;
mod context;
mod defaults;
mod diagnostic;
mod first;
mod ledger;
mod nearest;
mod quoted;
mod raw;
mod refusal;
mod resolve;
mod shape;
mod show;
mod socket;
mod sources;
mod tree;
mod units;
mod url;
mod version;

use nightshift_core::name::HostName;
use nightshift_core::settings::{Remote, Settings};
use toml::de::DeTable;

pub use crate::alone::{hook, target};
pub use crate::context::Context;
pub use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
pub use crate::first::first_config;
pub use crate::show::{Origin, Origins};
pub use crate::socket::{first_master, socket, state};
pub use crate::sources::Source;
pub use crate::url::SftpUrl;

use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::sources::Sources;

/// The URL of a remote, as in a config. The error says what is wrong, and what to write.
pub fn sftp_url(text: &str) -> Result<SftpUrl, String> {
    url::sftp(text).map_err(|refusal| {
        std::iter::once(refusal.message).chain(refusal.help).collect::<Vec<_>>().join("; ")
    })
}

/// The URL of a remote, as it may be in a config.
pub fn url_of(remote: &Remote) -> String {
    url::of_remote(remote)
}

/// A valid config.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub settings: Settings,
    pub origins: Origins,
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// The effective settings as TOML, each with its origin.
    pub fn show(&self) -> String {
        self.origins.show(&self.settings.paths.config)
    }
}

/// Loads a config from its file and its drop-ins, in the order in which they are merged.
pub fn load(sources: &[Source], context: &Context<'_>) -> Result<Loaded, Diagnostics> {
    let sources = Sources::new(sources);
    let mut ledger = Ledger::new(&sources);
    let settings = read(&sources, context, &mut ledger);
    let (errors, warnings, origins) = ledger.close();
    match settings {
        Some(settings) if errors.is_empty() => Ok(Loaded { settings, origins, warnings }),
        _ => Err(Diagnostics(errors)),
    }
}

/// The name of this host, also in a config with mistakes elsewhere.
pub fn this_host(sources: &[Source], context: &Context<'_>) -> Option<HostName> {
    let sources = Sources::new(sources);
    read(&sources, context, &mut Ledger::new(&sources)).map(|settings| settings.this)
}

fn read(sources: &Sources<'_>, context: &Context<'_>, ledger: &mut Ledger<'_>) -> Option<Settings> {
    let tables = parse(sources, ledger)?;
    version::check(&tables, ledger)?;
    let config = shape(tables, ledger);
    resolve::settings(&config, context, ledger)
}

fn parse<'t>(sources: &Sources<'t>, ledger: &mut Ledger<'_>) -> Option<Vec<DeTable<'t>>> {
    let refuse = |errors: Vec<(Option<sources::Span>, String)>| {
        for (span, message) in errors {
            ledger.refuse(span.as_ref(), Refusal::new(format!("not valid TOML: {message}")));
        }
    };
    tree::read(sources).map_err(refuse).ok()
}

fn shape(tables: Vec<DeTable<'_>>, ledger: &mut Ledger<'_>) -> raw::Config {
    let (config, refusals) = shape::read(tree::merge(tables));
    for shape::Refused { span, path, refusal } in refusals {
        ledger.refuse(span.as_ref(), refusal);
        ledger.tear(path);
    }
    config
}
