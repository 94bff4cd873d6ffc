//! Notices of nights: one opened; the result of one is known, or has changed since.

use super::known::Observed;
use super::{Notice, Severity, Topic};
use crate::night::Night;
use crate::outcome::Verdict;
use crate::summary::Judgement;

pub(super) fn opened(observed: &Observed<'_>, night: Night) -> Notice {
    let which = night.to_string();
    let notice = Notice::new(
        Topic::NightOpened,
        observed.sender(),
        observed.now,
        &which,
        &format!("night {night} is open"),
    );
    Notice { night: Some(night), ..notice }
}

/// `before` is the result of the night before, or the one that was reported before for this night.
pub(super) fn settled(
    observed: &Observed<'_>,
    night: Night,
    judged: &Judgement,
    before: Option<Verdict>,
    changes: u32,
) -> Notice {
    let verdict = judged.verdict;
    let severity = match verdict {
        Verdict::Complete => Severity::Info,
        Verdict::Degraded => Severity::Warning,
        Verdict::Failed => Severity::Critical,
    };
    let which = format!("{night}\0{changes}");
    let title = format!("night {night} is {verdict}");
    let notice = Notice::new(Topic::NightSettled, observed.sender(), observed.now, &which, &title);
    let notice = Notice {
        severity,
        resolved: verdict == Verdict::Complete,
        night: Some(night),
        verdict: Some(verdict),
        unchanged: before.unwrap_or(Verdict::Complete) == verdict,
        ..notice
    };
    notice.with_lines(judged.reasons.iter().map(|reason| &reason.text))
}
