//! The pure core of nightshift: what a night is, what is due, what a set contains, what may be removed.
//!
//! Nothing here reads a file, a socket, the environment or a clock: time is an argument.

pub mod access;
pub mod address;
pub mod agenda;
pub mod ansible;
pub mod api_server;
pub mod archive;
pub mod audit;
pub mod backoff;
pub mod backup;
mod bounded;
pub mod by_hand;
pub mod certificate;
mod chain;
pub mod digest;
pub mod draft;
pub mod etcd_config;
pub mod etcd_facts;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod hint;
pub mod hook;
mod host_key;
pub mod inventory;
pub mod kept;
pub mod kit;
pub mod manifest;
pub mod metrics;
pub mod name;
pub mod named_paths;
pub mod next_night;
pub mod night;
pub mod notify;
pub mod octal;
pub mod outcome;
pub mod owner;
pub mod plan;
pub mod plausible;
pub mod proof;
pub mod range_set;
pub mod ranges;
pub mod reason;
pub mod record;
pub mod restorable;
pub mod restore;
pub mod retention;
pub mod role;
pub mod schedule;
pub mod secret;
pub mod secrets;
pub mod set_path;
pub mod settings;
pub mod shell;
pub mod signed;
pub mod stage;
pub mod status;
pub mod summary;
pub mod system;
pub mod text;
pub mod tolerance;
pub mod units;
mod words;

pub use bounded::read_bounded;
pub use chain::chain;
