//! The line that `systemctl status` shows, updated at every turn of the loop.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nightshift_core::agenda::Agenda;
use nightshift_core::plan::{NightPlan, PlannedStage};
use nightshift_core::record::Record;
use nightshift_core::stage::Stage;
use nightshift_core::units;

use super::tonight::Tonight;

/// "night 2026-11-22: 5 of 9 stages done, pull-nodes 31/40, next mirror-masters at 2026-11-22 23:45 CET".
pub(super) fn status_line(agenda: &Agenda, tonight: Option<&Tonight>, running: &[Stage]) -> String {
    let (window, now) = (&agenda.settings().window, Timestamp::now());
    let (Some(tonight), Some(plan)) = (tonight, agenda.night()) else {
        let opens = agenda.next_opening(now);
        return format!("waiting: the next night opens {}", units::local_time(opens, &window.zone));
    };
    tonight.record.look(|record| {
        let states = record.into_iter().flat_map(|record| record.stages.values());
        let done = states.filter(|state| state.outcome.is_some()).count();
        let mut line = format!("night {}: {done} of {} stages done", tonight.night, plan.stages.len());
        for stage in running {
            line.push_str(&format!(", {stage}"));
            if let Some(progress) = tonight.board.progress(*stage) {
                line.push_str(&format!(" {progress}"));
            }
        }
        if let Some(next) = next_stage(plan, record, running)
            && let Some(wait) = wait_of(agenda, next, now, &window.zone)
        {
            line.push_str(&format!(", next {} {wait}", next.stage));
        }
        line
    })
}

fn next_stage<'a>(
    plan: &'a NightPlan,
    record: Option<&Record>,
    running: &[Stage],
) -> Option<&'a PlannedStage> {
    let has_begun = |stage| record.is_some_and(|record| record.stages.contains_key(&stage));
    let waiting = plan.stages.iter().filter(|it| !running.contains(&it.stage) && !has_begun(it.stage));
    waiting.min_by_key(|planned| (planned.at, planned.stage))
}

/// What a stage that has not started waits for: its time, or the stages that it needs. `None` if nothing keeps it.
pub(super) fn wait_of(
    agenda: &Agenda,
    planned: &PlannedStage,
    now: Timestamp,
    zone: &TimeZone,
) -> Option<String> {
    if planned.at > now {
        return Some(format!("at {}", units::local_time(planned.at, zone)));
    }
    let needs: Vec<_> = agenda.waits_for(planned.stage).iter().map(ToString::to_string).collect();
    (!needs.is_empty()).then(|| format!("after {}", needs.join(", ")))
}
