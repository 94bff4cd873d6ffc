//! Where log lines go: to journald if systemd connected stderr to it, to stderr otherwise.
//!
//! Audit events bring their own id and fields. Every other warning and error, of any crate, gets those of
//! `operation-failed`, so that `journalctl NIGHTSHIFT_OUTCOME=failed` misses none.

use std::io::IsTerminal as _;
use std::os::fd::AsFd;

use nightshift_core::audit::{Kind, Severity};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging; the processes that systemd starts call this once.
pub fn begin() {
    // The stages report a failed connection with the name of the peer; russh's own lines name no peer.
    let filter = EnvFilter::try_from_env("NIGHTSHIFT_LOG").unwrap_or_else(|_| {
        EnvFilter::new("info,tokio_cron_scheduler=warn,russh=error,russh_sftp=off,h2=warn")
    });
    let journal = if is_journal(std::io::stderr()) { journal_layers().ok() } else { None };
    let terminal = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            // The fields are for filtering in the journal; the message has everything an operator needs.
            .fmt_fields(format::debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                _ => Ok(()),
            }))
    });
    // A second call fails, and the first logger stays.
    let _kept = tracing_subscriber::registry().with(filter).with(journal).with(terminal).try_init();
}

/// Passes the warnings of a foreground command to `print`: what is skipped is part of its result.
pub fn begin_foreground(print: fn(&str)) {
    let filter = EnvFilter::new("warn,russh=error,russh_sftp=off,h2=error");
    let _kept = tracing_subscriber::registry().with(filter).with(Printed(print)).try_init();
}

struct Printed(fn(&str));

impl<S: Subscriber> Layer<S> for Printed {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        (self.0)(&format!("warning: {}", message.0));
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// One layer for each severity that a line without an id can have: a journald layer adds the same fields to all its lines.
fn journal_layers<S>() -> std::io::Result<Vec<Box<dyn Layer<S> + Send + Sync>>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    [None, Some(Severity::Warning), Some(Severity::Error)]
        .into_iter()
        .map(|wanted| {
            let kind = Kind::OperationFailed;
            let added = wanted.and_then(Severity::outcome).map(|outcome| {
                [
                    ("MESSAGE_ID", kind.message_id()),
                    ("NIGHTSHIFT_EVENT", kind.name()),
                    ("NIGHTSHIFT_OUTCOME", outcome),
                ]
            });
            let layer = tracing_journald::layer()?
                .with_syslog_identifier("nightshift".to_owned())
                // Without a prefix `message_id` becomes MESSAGE_ID; the other fields have `nightshift_` in their names.
                .with_field_prefix(None)
                .with_custom_fields(added.into_iter().flatten())
                .with_priority_mappings(PriorityMappings {
                    info: Priority::Informational,
                    ..PriorityMappings::new()
                });
            Ok(layer.with_filter(filter_fn(move |line| severity_without_id(line) == wanted)).boxed())
        })
        .collect()
}

/// The severity of a warning or error that brings no message id of its own.
fn severity_without_id(line: &Metadata<'_>) -> Option<Severity> {
    if line.fields().field("message_id").is_some() {
        return None;
    }
    match *line.level() {
        Level::ERROR => Some(Severity::Error),
        Level::WARN => Some(Severity::Warning),
        _ => None,
    }
}

/// Whether this stream leads to the journal. The variable alone does not prove it: children inherit it, and their streams may
/// lead elsewhere.
fn is_journal(stream: impl AsFd) -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(stream).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}
