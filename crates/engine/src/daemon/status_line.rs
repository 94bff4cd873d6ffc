//! The line that `systemctl status` shows, updated at every turn of the loop.

use jiff::Timestamp;
use nightshift_core::agenda::Agenda;
use nightshift_core::plan::NightPlan;
use nightshift_core::record::Record;
use nightshift_core::stage::Stage;
use nightshift_core::units;

use super::tonight::Tonight;

/// "night 2026-11-22: 5 of 9 stages done, pull-nodes 31/40, next mirror-masters 2026-11-22 23:45 CET".
pub(super) fn status_line(agenda: &Agenda, tonight: Option<&Tonight>, running: &[Stage]) -> String {
    let window = &agenda.settings().window;
    let (Some(tonight), Some(plan)) = (tonight, agenda.night()) else {
        let opens = window.opening(window.next_after(Timestamp::now()));
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
        if let Some((at, stage)) = next_stage(plan, record, running) {
            line.push_str(&format!(", next {stage} {}", units::local_time(at, &window.zone)));
        }
        line
    })
}

fn next_stage(plan: &NightPlan, record: Option<&Record>, running: &[Stage]) -> Option<(Timestamp, Stage)> {
    let has_begun = |stage| record.is_some_and(|record| record.stages.contains_key(&stage));
    let waiting = plan.stages.iter().filter(|it| !running.contains(&it.stage) && !has_begun(it.stage));
    waiting.map(|planned| (planned.at, planned.stage)).min()
}
