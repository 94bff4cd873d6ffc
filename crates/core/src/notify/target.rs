//! Where notices are sent, as the config says. The daemon uses only the name of a target, its events and how long it is retried.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Notice, Topic};
use crate::name::TargetName;
use crate::words::words;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: TargetName,
    pub kind: TargetKind,
    pub events: Vec<Topic>,
    /// Also nights with the same result as the night before.
    pub every_night: bool,
    /// A notice that could not be delivered for this long is given up.
    pub give_up: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetKind {
    /// A receiver that expects a request for each night, such as Healthchecks.
    Ping {
        url: Secret,
        ca: Option<PathBuf>,
    },
    Webhook {
        url: Secret,
        format: WebhookFormat,
        ca: Option<PathBuf>,
    },
    Mail {
        from: String,
        to: Vec<String>,
        path: MailPath,
    },
    /// A program, run without a shell. The notice is on its standard input, as JSON.
    Command {
        argv: Vec<String>,
    },
}

impl WebhookFormat {
    /// Whether a URL, or the path of one, can be that of a receiver of this format.
    pub fn fits(self, url: &str) -> bool {
        self != Self::Alertmanager
            || url.split('?').next().is_some_and(|path| path.ends_with("/api/v2/alerts"))
    }
}

words! {
    WebhookFormat {
        Json = "json",
        Slack = "slack",
        Ntfy = "ntfy",
        Alertmanager = "alertmanager",
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailPath {
    /// A program that takes a mail on its standard input.
    Sendmail(Vec<String>),
    /// `smtp://` or `smtps://`, with a login if the server wants one.
    Smtp { url: Secret, ca: Option<PathBuf> },
}

/// A URL, or where it is read: it may contain a key or a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Inline(String),
    File(PathBuf),
    /// A credential of systemd, by its name.
    Credential(String),
}

/// Without the URL: what is printed may be read by others.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("a URL in the config"),
            Self::File(path) => write!(f, "the URL in {}", path.display()),
            Self::Credential(name) => write!(f, "the URL in the credential {name}"),
        }
    }
}

impl Target {
    pub fn wants(&self, notice: &Notice) -> bool {
        let is_ping = matches!(self.kind, TargetKind::Ping { .. });
        notice.topic == Topic::Test
            || self.events.contains(&notice.topic) && (!notice.unchanged || self.every_night || is_ping)
    }

    /// The events of a target that names none: a ping has each night, the others only what an operator should know.
    pub fn default_events(is_ping: bool) -> Vec<Topic> {
        let is_default = |topic: &Topic| *topic != Topic::Test && (is_ping || *topic != Topic::NightOpened);
        Topic::ALL.into_iter().filter(is_default).collect()
    }
}
