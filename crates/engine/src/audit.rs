//! The audit trail's way out: every event goes to the journal with its id and its fields.

use std::sync::Arc;

use nightshift_core::audit::{Event, Kind, Severity};
use nightshift_core::name::{ClusterName, HostName};
use nightshift_core::text::{line_of, one_line};

/// The maximum length of a message and of a reason, in characters: that of a night lists those of its stages and sets.
const MAX_LEN: usize = 16_000;

/// Emits events in the name of this host.
#[derive(Debug, Clone)]
pub struct Audit {
    who: Arc<(ClusterName, HostName)>,
}

impl Audit {
    pub fn new(cluster: ClusterName, host: HostName) -> Self {
        Self { who: Arc::new((cluster, host)) }
    }

    pub fn emit(&self, event: &Event) {
        let night = event.night.map(|night| night.to_string());
        let sha256 = event.sha256.map(|digest| digest.to_string());
        let path = event.path.as_deref().map(one_line);
        // The diagnostics of the configuration have lines, and are this host's own text.
        let is_own = event.kind == Kind::ConfigRefused;
        let line = |text: &str| if is_own { text.to_owned() } else { line_of(text, MAX_LEN) };
        let (message, reason) = (line(&event.message), event.reason.as_deref().map(line));
        let (cluster, host) = &*self.who;
        // The level of a tracing event is fixed where it is written, hence one expansion for each.
        macro_rules! emit_at {
            ($level:expr) => {
                tracing::event!(
                    target: "nightshift::audit",
                    $level,
                    message_id = event.kind.message_id(),
                    nightshift_event = event.kind.name(),
                    nightshift_cluster = cluster.as_str(),
                    nightshift_host = host.as_str(),
                    nightshift_role = event.role.map(|role| role.as_str()),
                    nightshift_night = night.as_deref(),
                    nightshift_stage = event.stage.map(|stage| stage.as_str()),
                    nightshift_peer = event.peer.as_ref().map(HostName::as_str),
                    nightshift_path = path.as_deref(),
                    nightshift_bytes = event.bytes,
                    nightshift_sha256 = sha256.as_deref(),
                    nightshift_duration_ms = event.duration_ms,
                    nightshift_outcome = event.outcome,
                    nightshift_reason = reason.as_deref(),
                    "{message}"
                )
            };
        }
        match event.severity {
            Severity::Info => emit_at!(tracing::Level::INFO),
            Severity::Warning => emit_at!(tracing::Level::WARN),
            Severity::Error => emit_at!(tracing::Level::ERROR),
        }
    }
}
