//! Why an act failed. Each reason is one line, with the path or unit and what to do.

use std::error::Error;
use std::io;

use nightshift_core::restore::id::PlanId;
use nightshift_core::text::InvalidJson;
use nightshift_store::StoreError;
use nightshift_store::process::ProcessError;

/// Two plans at the same time are refused, with what ends the first. Nothing is held any more then, and what was moved aside stays.
pub fn other_plan(place: &str, other: &PlanId) -> String {
    format!(
        "the restore {other} is not finished {place}; continue it with `nightshift restore apply`, or end it with `nightshift restore \
         undo`; if its directory is lost, remove the files `hold` and `current` in /var/lib/nightshift-restore, and \
         50-nightshift-restore.conf in the directories /etc/systemd/system/*.d, then run `systemctl daemon-reload`"
    )
}

#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("cannot read the request")]
    Read(#[source] io::Error),
    #[error("the request is not a line of JSON with an act; `nightshift restore apply` starts this command")]
    Request(#[source] InvalidJson),
    #[error(
        "the request has format {0}, but nightshift {version} on this machine uses format {format}; install the same version of \
         nightshift on both", version = env!("CARGO_PKG_VERSION"), format = nightshift_core::restore::act::FORMAT
    )]
    Format(u32),
    #[error(
        "it needs root's rights; log in as root, or let sudo run `nightshift restore act` without a password"
    )]
    NotRoot,
    #[error(
        "another act of a restore runs on this machine (`pgrep -f 'restore act'`); retry when it has ended, or end it if its client is gone"
    )]
    Busy,
    #[error("{}", other_plan("on this machine", .0))]
    OtherPlan(PlanId),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("{what}")]
    Nightshift { what: &'static str, source: Box<dyn Error + Send + Sync> },
}

impl TargetError {
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}
