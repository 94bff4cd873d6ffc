//! `nightshift prune --dry-run`: what pruning would decide now about each copy, and why.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use nightshift_core::kept::KeptNights;
use nightshift_core::night::Night;
use nightshift_core::retention::Decision;
use nightshift_core::settings::{Remote, Settings};
use nightshift_engine::retention;
use nightshift_peers::{Credentials, ReachError, remote_endpoint};
use nightshift_store::outbox::Outbox;
use nightshift_store::{Vault, kept};
use serde::Serialize;
use tokio::time::timeout;

use super::CommandError;
use crate::exit::Exit;
use crate::{config_file, out, report};

/// For listing the archives on one remote.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(60);

/// What would happen to one copy.
#[derive(Serialize)]
struct Row {
    what: String,
    keep: bool,
    reason: String,
}

impl Row {
    fn of(what: String, decision: &Decision) -> Self {
        Self { what, keep: decision.keep, reason: decision.reason.to_string() }
    }
}

pub async fn run(config: &Path, json: bool) -> Result<Exit, CommandError> {
    let settings = config_file::settings(config)?;
    let today = retention::today(&settings, Timestamp::now());
    let decided = retention::sets(&settings, &Vault::of(&settings), today)?;
    let mut rows: Vec<Row> =
        decided.sets.iter().map(|(set, decision)| Row::of(set.to_string(), decision)).collect();
    let mut unknown = decided.unreadable;
    rows.extend(sent(&settings, today)?);
    let kept = kept::read(&settings.paths.kept())?;
    for remote in &settings.remotes {
        if !remote.prune {
            out::print_error(&format!("remote {}: nothing is removed there (`prune = false`)", remote.name));
            continue;
        }
        match timeout(REMOTE_TIMEOUT, there(&settings, remote, &kept, today)).await {
            Ok(Ok(there)) => rows.extend(there),
            Ok(Err(error)) => unknown.push(format!("remote {}: {}", remote.name, report::in_full(&error))),
            Err(_) => {
                let seconds = REMOTE_TIMEOUT.as_secs();
                unknown
                    .push(format!("remote {}: its directory was not listed within {seconds} s", remote.name));
            }
        }
    }
    if json {
        out::print_json(&rows)?;
    } else {
        let word = |keep| if keep { "keep" } else { "remove" };
        let rows = rows.into_iter().map(|row| vec![row.what, word(row.keep).to_owned(), row.reason]);
        out::print_table(&["WHAT", "DECISION", "REASON"], rows);
    }
    for reason in &unknown {
        out::print_error(&format!("not checked, and not removed: {reason}"));
    }
    Ok(if unknown.is_empty() { Exit::Good } else { Exit::Degraded })
}

/// The archives that every remote has.
fn sent(settings: &Settings, today: Date) -> Result<Vec<Row>, CommandError> {
    let keep = settings.archive.keep_sent;
    let sent = Outbox::new(settings.paths.sent()).archives()?;
    let over = retention::over_limit(settings, &sent, Night::of(today));
    let row = |archive| {
        let is_over = over.contains(archive);
        let reason = if is_over {
            retention::shipped_reason(keep)
        } else {
            format!(
                "among the newest {keep} that were shipped, the newest with an etcd snapshot, or of tonight"
            )
        };
        Row {
            what: settings.paths.sent().join(archive.to_string()).display().to_string(),
            keep: !is_over,
            reason,
        }
    };
    Ok(sent.iter().map(row).collect())
}

/// This host's archives on a remote.
async fn there(
    settings: &Settings,
    remote: &Remote,
    kept: &KeptNights,
    today: Date,
) -> Result<Vec<Row>, CommandError> {
    let recorded = retention::Recorded::read(settings, &remote.name)?;
    let credentials = Credentials::of_remote(settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&remote_endpoint(remote)).await?;
    let archives = retention::own_archives(&sftp, remote, &settings.this, &recorded).await;
    session.close().await;
    let decided = retention::archives(remote, archives.map_err(ReachError::from)?, &recorded, kept, today);
    let what = |name: &str| format!("{}:{}", remote.name, remote.file(name));
    Ok(decided.into_iter().map(|(name, decision)| Row::of(what(&name.to_string()), &decision)).collect())
}
