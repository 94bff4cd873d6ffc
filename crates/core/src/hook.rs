//! Hooks: an operator's commands before or after a stage, or the night.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{HookName, HostName};
use crate::night::Night;
use crate::outcome::{Outcome, Verdict};
use crate::role::Roles;
use crate::stage::Stage;
use crate::words::words;

words! {
    Moment {
        Before = "before",
        After = "after",
    }
}

/// The word for the night in the config, where another hook has the name of a stage.
pub const NIGHT: &str = "night";

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occasion {
    pub moment: Moment,
    /// `None` is the night.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
}

impl Occasion {
    pub const BEFORE_NIGHT: Self = Self { moment: Moment::Before, stage: None };
    pub const AFTER_NIGHT: Self = Self { moment: Moment::After, stage: None };

    pub const fn before(stage: Stage) -> Self {
        Self { moment: Moment::Before, stage: Some(stage) }
    }

    pub const fn after(stage: Stage) -> Self {
        Self { moment: Moment::After, stage: Some(stage) }
    }

    /// Whether it occurs on a host with these roles.
    pub fn runs_on(self, roles: Roles) -> bool {
        self.stage.is_none_or(|stage| stage.runs_on(roles))
    }

    /// The stage, or `night`.
    pub fn subject(self) -> &'static str {
        self.stage.map_or(NIGHT, Stage::as_str)
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.moment, self.subject())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub name: HookName,
    pub at: Occasion,
    /// The program and its arguments; no shell is used.
    pub argv: Vec<String>,
    pub timeout: Duration,
    /// If it fails, the stage fails.
    pub required: bool,
}

/// How a stage or a night ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ending {
    Stage(Outcome),
    Night(Verdict),
}

impl Ending {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stage(outcome) => outcome.as_str(),
            Self::Night(verdict) => verdict.as_str(),
        }
    }
}

/// What the daemon sends to the unit: which hook, and the event. Everything else the unit reads from root's config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub hook: HookName,
    pub at: Occasion,
    pub night: Night,
    /// Of what has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Ending>,
}

/// What the unit answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    Succeeded,
    Failed(String),
}

impl Request {
    /// Refuses a hook that is at another moment. The daemon's config may be older than the one of the unit.
    pub fn check(&self, hook: &Hook) -> Result<(), String> {
        if hook.at != self.at {
            return Err(format!(
                "in the config it is a hook {}, but the daemon requested it {}; run `systemctl reload nightshift`",
                hook.at, self.at
            ));
        }
        Ok(())
    }

    /// The variables that its program gets.
    pub fn environment(&self, host: &HostName) -> Vec<(&'static str, String)> {
        let outcome = self.outcome.map(|outcome| ("NIGHTSHIFT_OUTCOME", outcome.as_str().to_owned()));
        let all = [
            ("NIGHTSHIFT_HOOK", self.hook.to_string()),
            ("NIGHTSHIFT_HOST", host.to_string()),
            ("NIGHTSHIFT_NIGHT", self.night.to_string()),
            ("NIGHTSHIFT_STAGE", self.at.subject().to_owned()),
            ("NIGHTSHIFT_MOMENT", self.at.moment.to_string()),
        ];
        all.into_iter().chain(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hook(at: Occasion) -> Hook {
        Hook {
            name: "freeze".parse().unwrap(),
            at,
            argv: vec!["/bin/true".into()],
            timeout: Duration::from_secs(60),
            required: false,
        }
    }

    fn request(outcome: Option<Ending>) -> Request {
        let at = Occasion::after(Stage::CollectNode);
        Request { hook: "freeze".parse().unwrap(), at, night: "2026-11-22".parse().unwrap(), outcome }
    }

    #[test]
    fn a_request_is_one_line_of_words_and_no_other_text_reaches_the_program() {
        let sent = request(Some(Ending::Stage(Outcome::Degraded)));
        let line = serde_json::to_string(&sent).unwrap();
        assert_eq!(
            line,
            r#"{"hook":"freeze","at":{"moment":"after","stage":"collect-node"},"night":"2026-11-22","outcome":"degraded"}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), sent);
        let complete: Request = serde_json::from_str(&line.replace("degraded", "complete")).unwrap();
        assert_eq!(complete.outcome, Some(Ending::Night(Verdict::Complete)));
        for hostile in ["$(reboot)", "done; reboot", ""] {
            assert!(
                serde_json::from_str::<Request>(&line.replace("degraded", hostile)).is_err(),
                "{hostile}"
            );
        }
        let with_argv = line.replacen('{', r#"{"argv":["/bin/sh"],"#, 1);
        assert!(serde_json::from_str::<Request>(&with_argv).is_err());
        let environment = sent.environment(&"m1".parse().unwrap());
        let shown: Vec<String> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            shown,
            [
                "NIGHTSHIFT_HOOK=freeze",
                "NIGHTSHIFT_HOST=m1",
                "NIGHTSHIFT_NIGHT=2026-11-22",
                "NIGHTSHIFT_STAGE=collect-node",
                "NIGHTSHIFT_MOMENT=after",
                "NIGHTSHIFT_OUTCOME=degraded"
            ]
        );
    }

    #[test]
    fn a_hook_that_the_config_has_elsewhere_is_refused() {
        let asked = request(None);
        assert!(asked.check(&hook(asked.at)).is_ok());
        let elsewhere = asked.check(&hook(Occasion::BEFORE_NIGHT)).unwrap_err();
        assert!(
            elsewhere.contains("a hook before night") && elsewhere.contains("systemctl reload"),
            "{elsewhere}"
        );
    }
}
