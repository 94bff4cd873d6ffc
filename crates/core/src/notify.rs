//! Notifications: which notices follow from what was known before and what is found now, and how each reads. Only changes of state
//! are notices. They are derived from records and files, so a restart neither repeats nor loses one.

mod changes;
mod conditions;
mod format;
mod known;
mod night;
mod ping;
mod target;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use changes::changes;
pub use format::{json, webhook};
pub use known::{Known, Observed};
pub use ping::{Ping, ping, ping_refusal, run_id};
pub use target::{MailPath, Secret, Target, TargetKind, WebhookFormat};

use crate::digest::Digest;
use crate::name::{ClusterName, HostName, TargetName};
use crate::night::Night;
use crate::outcome::Verdict;
use crate::text::{line_of, one_line};
use crate::words::words;

/// The format of a notice in the queue and on the socket.
pub const FORMAT: u32 = 1;
/// The maximum length of a title, and of one line of a text, in characters.
const MAX_LINE: usize = 300;
/// The maximum number of lines of a text.
const MAX_LINES: usize = 12;

words! {
    /// What a notice is about. The words are those of `events` in the config.
    Topic {
        NightOpened = "night-opened",
        NightSettled = "night-settled",
        Stale = "stale",
        MembersDisagree = "members-disagree",
        DrillFailed = "drill-failed",
        SetSuspicious = "set-suspicious",
        HostKeyMismatch = "host-key-mismatch",
        DiskFull = "disk-full",
        Test = "test",
    }
}

words! {
    Severity {
        Info = "info",
        Warning = "warning",
        Critical = "critical",
    }
}

/// One notification, the same for every target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub format: u32,
    /// The same in every attempt, so that a receiver recognises a repetition.
    pub id: String,
    pub topic: Topic,
    pub severity: Severity,
    /// The state that an earlier notice reported is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolved: bool,
    pub cluster: ClusterName,
    /// The host that sends it.
    pub host: HostName,
    /// What it is about, if that is not the whole host: another host, a set's host and role, a remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The subjects of several changes of one kind that are one notice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night: Option<Night>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The night before it had the same result: only a target that wants every night gets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
    /// When the change was found.
    pub at: Timestamp,
    pub title: String,
    pub text: String,
}

impl Notice {
    /// `which` distinguishes it from every other notice of this host: the id is made of it.
    fn new(
        topic: Topic,
        (cluster, host): (&ClusterName, &HostName),
        at: Timestamp,
        which: &str,
        title: &str,
    ) -> Self {
        let id = id_of(&format!("{cluster}\0{host}\0{topic}\0{which}"));
        Self {
            format: FORMAT,
            id,
            topic,
            severity: Severity::Info,
            resolved: false,
            cluster: cluster.clone(),
            host: host.clone(),
            subject: None,
            subjects: Vec::new(),
            night: None,
            verdict: None,
            unchanged: false,
            at,
            title: line_of(&format!("{cluster}/{host}: {title}"), MAX_LINE),
            text: String::new(),
        }
    }

    fn with_lines(mut self, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut lines = lines.into_iter();
        let shown: Vec<String> =
            lines.by_ref().take(MAX_LINES).map(|line| line_of(line.as_ref(), MAX_LINE)).collect();
        let more = lines.count();
        let more = (more > 0).then(|| format!("and {more} more"));
        self.text = shown.into_iter().chain(more).collect::<Vec<_>>().join("\n");
        self
    }

    /// What `nightshift notify --test` sends. `which` makes each test another notice.
    pub fn test(cluster: &ClusterName, host: &HostName, at: Timestamp, which: &str) -> Self {
        Self::new(Topic::Test, (cluster, host), at, which, "test of a notification")
            .with_lines(["nightshift can notify this target."])
    }
}

/// What the daemon sends to the unit: which target, and what. Everything else the unit reads from root's config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub target: TargetName,
    pub notice: Notice,
    /// Only to these of the target's recipients: the others have it. Empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

/// What the unit answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The receiver has it.
    Sent,
    /// The receiver has it, but did not accept it for all.
    SentExcept(Exceptions),
    Failed(String),
}

/// The recipients for whom a receiver did not accept a notice, although it has it for others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceptions {
    /// A later attempt may succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Exception>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    pub to: String,
    pub reason: String,
}

impl Exceptions {
    pub const fn is_empty(&self) -> bool {
        self.later.is_empty() && self.refused.is_empty()
    }
}

/// Each recipient with its reason, in one line; `None` if there is none.
pub fn reasons<'a>(exceptions: impl IntoIterator<Item = &'a Exception>) -> Option<String> {
    let lines: Vec<_> =
        exceptions.into_iter().map(|Exception { to, reason }| format!("{to}: {reason}")).collect();
    (!lines.is_empty()).then(|| one_line(&lines.join("; ")))
}

/// The first 128 bits of a hash, in the form of a UUID, which is what receivers of pings want.
fn id_of(text: &str) -> String {
    let digest = Digest::of(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    // Version 8: made by rules of our own (RFC 9562, section 5.8).
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests;
