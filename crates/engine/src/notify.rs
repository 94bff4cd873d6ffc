//! Notifications, as far as the daemon has a part in them: it finds what has changed, and queues a notice for each target on disk.
//! Tasks of their own send the notices to a unit that reads the targets' URLs and programs from root's config. The daemon sends
//! nothing itself, and nothing of a night waits for it.

pub(crate) mod deliver;
pub(crate) mod observe;
pub mod queue;
pub mod unit;
pub(crate) mod unreadable;
