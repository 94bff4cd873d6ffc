//! Pings in the manner of Healthchecks: the path after the URL says how a run went, `rid` which run it is.

use super::{Notice, Topic, id_of};
use crate::outcome::Verdict;

/// What is appended to the URL's path, and the run that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    pub path: &'static str,
    pub rid: Option<String>,
}

pub fn ping(notice: &Notice) -> Ping {
    let path = match (notice.topic, notice.verdict) {
        (Topic::NightOpened, _) => "/start",
        (Topic::NightSettled, Some(Verdict::Complete)) => "",
        (Topic::NightSettled, _) => "/fail",
        _ => "/log",
    };
    let is_night = matches!(notice.topic, Topic::NightOpened | Topic::NightSettled);
    Ping { path, rid: notice.night.filter(|_| is_night).map(|_| run_id(notice)) }
}

/// The same for the start and the end of one night of one host.
pub fn run_id(notice: &Notice) -> String {
    let night = notice.night.map(|night| night.to_string()).unwrap_or_default();
    id_of(&format!("{}\0{}\0run\0{night}", notice.cluster, notice.host))
}

/// Why a ping was not recorded, although the status of the answer is one of success: Healthchecks answers pings by UUID with 200 and
/// `OK (not found)` or `OK (rate limited)`, because old clients expect 200.
pub fn ping_refusal(answer: &str) -> Option<&'static str> {
    if answer.contains("(not found)") {
        Some("it has no check with this URL; create the check, or correct the URL")
    } else if answer.contains("(rate limited)") {
        Some("it gets too many pings")
    } else {
        None
    }
}
