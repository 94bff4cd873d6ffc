//! The machine on which a config is read, as the caller describes it.

use std::fmt;
use std::path::PathBuf;

use jiff::tz::TimeZone;

/// The properties of the machine on which a config is read.
pub struct Context<'a> {
    pub hostname: String,
    /// The machine's own time zone, used if the config sets none.
    pub system_zone: TimeZone,
    /// Looks up a time zone by its name, such as `Europe/Berlin`.
    pub zone_lookup: &'a dyn Fn(&str) -> Option<TimeZone>,
    /// The directory of the config file.
    pub config_dir: PathBuf,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("hostname", &self.hostname)
            .field("system_zone", &self.system_zone)
            .field("config_dir", &self.config_dir)
            .finish_non_exhaustive()
    }
}
