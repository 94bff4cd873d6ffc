//! The line that `systemctl status` shows: true at every turn.

use nightshift_core::plan::NightPlan;
use nightshift_core::record::Record;
use nightshift_core::stage::Stage;

use super::{Daemon, Task};

impl Daemon {
    /// "night 2026-11-22: 5 of 9 stages done, pull-nodes 31/40, next mirror-masters 23:45".
    pub(super) fn status_line(&self) -> String {
        let zone = &self.settings.window.zone;
        let (Some(tonight), Some(plan)) = (&self.tonight, self.agenda.night()) else {
            let opens = self.settings.window.opening(self.settings.window.next_after(jiff::Timestamp::now()));
            return format!(
                "waiting: the next night opens {}",
                opens.to_zoned(zone.clone()).strftime("%F %R")
            );
        };
        let done = tonight.look(|record| ended(record).count());
        let mut line = format!("night {}: {done} of {} stages done", tonight.night, plan.stages.len());
        for task in self.supervisor.running() {
            if let Task::Stage(stage) = task {
                line.push_str(&format!(", {stage}"));
                if let Some(progress) = tonight.board.progress(*stage) {
                    line.push_str(&format!(" {progress}"));
                }
            }
        }
        if let Some((stage, at)) = tonight.look(|record| self.next_stage(plan, record)) {
            line.push_str(&format!(", next {stage} {}", at.to_zoned(zone.clone()).strftime("%R")));
        }
        line
    }

    fn next_stage(&self, plan: &NightPlan, record: Option<&Record>) -> Option<(Stage, jiff::Timestamp)> {
        plan.stages
            .iter()
            .filter(|planned| !self.supervisor.is_running(&Task::Stage(planned.stage)))
            .filter(|planned| record.is_none_or(|record| !record.stages.contains_key(&planned.stage)))
            .map(|planned| (planned.stage, planned.at))
            .min_by_key(|(stage, at)| (*at, *stage))
    }
}

fn ended(record: Option<&Record>) -> impl Iterator<Item = Stage> {
    record
        .into_iter()
        .flat_map(|record| &record.stages)
        .filter(|(_, s)| s.outcome.is_some())
        .map(|(stage, _)| *stage)
}
