//! What a pull got from its peers.

use nightshift_core::outcome::{Grade, Outcome};

use crate::context::StageEnd;

/// What one peer's vault has for this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullOutcome {
    /// Its set is stored here; `fresh` if it arrived now.
    Stored { grade: Grade, fresh: bool },
    /// It publishes no set tonight, because one of another host is enough.
    NotNeeded,
}

/// The result of the whole stage.
#[derive(Debug, Default)]
pub struct Tally {
    gained: bool,
    /// The hosts without a good set, with the reasons.
    lacking: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, host: &str, outcome: Result<PullOutcome, String>) {
        match outcome {
            Ok(PullOutcome::Stored { grade, fresh }) => {
                self.gained |= fresh;
                if grade != Grade::Good {
                    self.lacking.push(format!("{host}: {grade}"));
                }
            }
            Ok(PullOutcome::NotNeeded) => {}
            Err(reason) => self.lacking.push(format!("{host}: {reason}")),
        }
    }

    pub fn end(self) -> StageEnd {
        const MAX_SHOWN: usize = 5;
        let Self { gained, lacking } = self;
        if lacking.is_empty() {
            return StageEnd { gained, ..StageEnd::done() };
        }
        let mut reason = lacking.iter().take(MAX_SHOWN).cloned().collect::<Vec<_>>().join("; ");
        if lacking.len() > MAX_SHOWN {
            reason.push_str(&format!("; and {} more", lacking.len() - MAX_SHOWN));
        }
        StageEnd { outcome: Outcome::Degraded, reason: Some(reason), retry: false, gained }
    }
}
