//! Where log lines go: to journald where systemd connected stderr to it, to stderr everywhere else.

use std::io::IsTerminal as _;
use std::os::fd::AsFd;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins logging. Done once, by whoever runs the daemon.
pub fn begin() {
    // What goes wrong on a connection is told by whoever used it, with the peer's name; russh's own lines name nobody.
    let filter = EnvFilter::try_from_env("NIGHTSHIFT_LOG").unwrap_or_else(|_| {
        EnvFilter::new("info,tokio_cron_scheduler=warn,russh=error,russh_sftp=off,h2=warn")
    });
    let journal = if is_journal(std::io::stderr()) { tracing_journald::layer().ok() } else { None };
    let journal = journal.map(|layer| {
        layer
            .with_syslog_identifier("nightshift".to_owned())
            // Without a prefix `message_id` becomes MESSAGE_ID; all our other fields carry our own name.
            .with_field_prefix(None)
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                ..PriorityMappings::new()
            })
    });
    let terminal = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            // The fields are for the journal's reader; a person reads the message, which says it all.
            .fmt_fields(format::debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                _ => Ok(()),
            }))
    });
    // A second call keeps the first logger, and says so by nothing worse than that.
    let _kept = tracing_subscriber::registry().with(filter).with(journal).with(terminal).try_init();
}

/// Whether this stream leads to the journal. The variable alone proves nothing: it is handed on to children whose
/// streams lead elsewhere.
fn is_journal(stream: impl AsFd) -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(stream).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}
