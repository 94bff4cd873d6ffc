//! What is wrong with a plan, or missing in it.

use serde::{Deserialize, Serialize};

use crate::words::words;

/// What an operator must know before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: FindingKind,
    pub text: String,
}

words! {
    FindingKind {
        /// The plan cannot be carried out.
        Refused = "refused",
        /// What the restored cluster will lack.
        Lost = "lost",
        /// What the sets lack, or what was not checked.
        Missing = "missing",
    }
}

impl Finding {
    pub fn refused(text: impl Into<String>) -> Self {
        Self { kind: FindingKind::Refused, text: text.into() }
    }

    pub fn lost(text: impl Into<String>) -> Self {
        Self { kind: FindingKind::Lost, text: text.into() }
    }

    pub fn missing(text: impl Into<String>) -> Self {
        Self { kind: FindingKind::Missing, text: text.into() }
    }
}
