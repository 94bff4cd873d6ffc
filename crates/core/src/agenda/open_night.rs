//! The open night: the progress of each stage, and what is due next.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::clock::Clock;
use super::event::{Action, Refusal, StageResult, Start};
use super::progress::{Progress, State, tried_later};
use crate::backoff;
use crate::night::Night;
use crate::outcome::Outcome;
use crate::plan::{NightPlan, PlannedStage};
use crate::record::{Fate, Record, StartReason};
use crate::settings::Settings;
use crate::stage::Stage;

/// The last retry for what was absent is this long before the night closes, so that the archive can still be packed.
const LAST_RETRY_BEFORE_CLOSING: SignedDuration = SignedDuration::from_mins(30);
/// A stage that starts later than this after its time is reported as caught up.
const LATE_START: SignedDuration = SignedDuration::from_mins(2);
/// How long `drill` and `prune` wait for shipping once it has started.
const MAX_WAIT_FOR_SHIPPING: SignedDuration = SignedDuration::from_mins(15);
/// How often an ended stage is tried once more: a pull for missing sets, another one because an etcd or a remote was absent.
const LATER_TRIES_INTERVAL: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug)]
pub(super) struct OpenNight {
    /// The settings at opening, except for what a reload may change tonight.
    settings: Arc<Settings>,
    pub(super) plan: NightPlan,
    stages: BTreeMap<Stage, Progress>,
    /// A set arrived after packing: the archive is packed once more after the last retry for missing sets.
    gained: bool,
    /// When it was packed once more. Each of many late sets in an archive of its own would fill the remotes.
    repacked: Option<Timestamp>,
    /// Why it closes before its time.
    early: Option<String>,
}

impl OpenNight {
    pub(super) fn fresh(settings: Arc<Settings>, plan: NightPlan) -> Self {
        let stages = plan.stages.iter().map(|planned| (planned.stage, Progress::waiting())).collect();
        Self { settings, plan, stages, gained: false, repacked: None, early: None }
    }

    pub(super) fn has_ended(&self, stage: Stage) -> bool {
        self.stages.get(&stage).is_none_or(|progress| progress.state == State::Ended)
    }

    /// Closes it before its time: its stages are stopped.
    pub(super) fn close_early(&mut self, reason: String) {
        self.early.get_or_insert(reason);
    }

    pub(super) const fn early(&self) -> Option<&String> {
        self.early.as_ref()
    }

    /// Which stages a waiting stage needs that have not ended.
    pub(super) fn waits_for(&self, stage: Stage) -> Vec<Stage> {
        let unmet = |need: &&Stage| self.stages.get(*need).is_some_and(|progress| !progress.ended_once);
        stage.needs().iter().filter(unmet).copied().collect()
    }

    pub(super) fn all_ended(&self) -> bool {
        self.stages.values().all(|progress| progress.state == State::Ended)
    }

    /// Stores the result of a stage, and decides whether and when it runs again.
    pub(super) fn ended(&mut self, now: Timestamp, ended: &StageResult) {
        // A set that arrives before packing is part of the first archive.
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|pack| pack.attempts > 0);
        self.gained |= ended.gained && packed;
        let Some(planned) = self.plan.stage(ended.stage) else { return };
        let until = planned.until;
        let last_retry = self.plan.closes.checked_sub(LAST_RETRY_BEFORE_CLOSING).unwrap_or(now);
        let wanted = self.settings.stages.get(ended.stage);
        let seed = format!("{}/{}/{}", self.settings.this, self.plan.night, ended.stage);
        let Some(progress) = self.stages.get_mut(&ended.stage) else { return };

        let pause = backoff::delay(wanted.backoff, progress.attempts, &seed);
        let next = now.checked_add(pause).unwrap_or(Timestamp::MAX);
        let again = ended.retry
            && ended.outcome == Outcome::Failed
            && progress.attempts <= wanted.retries
            && next < until;
        progress.state = if again { State::Backoff { until: next } } else { State::Ended };
        progress.ended_once |= !again;
        progress.again &= again;
        let later = now.checked_add(LATER_TRIES_INTERVAL).unwrap_or(Timestamp::MAX);
        progress.next_try = tried_later(ended.stage, ended.outcome, wanted.retries)
            .filter(|why| {
                !again
                    && later <= last_retry
                    && (*why == StartReason::MissingSets || ended.retry && later < until)
            })
            .map(|why| (later, why));
    }

    /// A set arrived after the `until` of the stage that pulls it.
    pub(super) fn gained_late(&mut self) {
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|pack| pack.attempts > 0);
        self.gained |= packed;
    }

    /// Continues an open night from its record: ended stages stay ended, interrupted ones start again.
    pub(super) fn resumed(settings: Arc<Settings>, record: &Record) -> Self {
        // An operator may have requested a stage that was not planned.
        let known = |stage: &Stage| record.planned.contains(stage) || record.stages.contains_key(stage);
        let stages: Vec<Stage> = Stage::ALL.into_iter().filter(known).collect();
        let plan = plan(&settings, record.night, record.opened, &stages);
        let mut open = Self::fresh(Arc::clone(&settings), plan);
        for planned in &mut open.plan.stages {
            let stage = planned.stage;
            let Some(state) = record.stages.get(&stage) else { continue };
            // It began before its time if an operator requested it, and continues at once.
            planned.at = planned.at.min(state.started);
            let retries = settings.stages.get(stage).retries;
            open.stages.insert(stage, Progress::recorded(stage, state, retries, record.newest));
        }
        open.gained = !record.archives.is_empty()
            && record.archives.len() < 2
            && record.sets.iter().any(|report| report.fate == Fate::Late);
        open
    }

    /// Stages that have not begun take their new settings and times; a stage that an operator requested keeps its time.
    /// Hosts, roles and the night's opening and closing time stay as they were when it opened.
    pub(super) fn reload(&mut self, fresh: &Settings) {
        let progress = |stage| self.stages.get(&stage);
        let begun = |stage| progress(stage).is_some_and(|progress| progress.attempts > 0);
        let requested = |stage| progress(stage).is_some_and(|it| it.why == Some(StartReason::Requested));
        let keeps = |planned: &PlannedStage| begun(planned.stage) || requested(planned.stage);

        let settings = Arc::new(self.settings.tonight(fresh, begun));
        let stages: Vec<Stage> = self.plan.stages.iter().map(|planned| planned.stage).collect();
        let fresh = plan(&settings, self.plan.night, self.plan.opens, &stages).stages;
        let mut planned: Vec<_> = self.plan.stages.iter().filter(|planned| keeps(planned)).cloned().collect();
        planned.extend(fresh.into_iter().filter(|planned| !keeps(planned)).map(|planned| {
            let until = planned.until.min(self.plan.closes);
            PlannedStage { until, ..planned }
        }));
        planned.sort_by_key(|planned| planned.stage);
        self.stages.retain(|stage, _| planned.iter().any(|planned| planned.stage == *stage));
        for stage in &planned {
            self.stages.entry(stage.stage).or_insert_with(Progress::waiting);
        }
        self.plan.stages = planned;
        self.settings = settings;
    }

    /// Starts all waiting stages now, in the order of their needs.
    pub(super) fn hasten(&mut self, now: Timestamp) {
        for planned in &mut self.plan.stages {
            if let Some(progress) = self.stages.get_mut(&planned.stage)
                && matches!(progress.state, State::Waiting | State::Backoff { .. })
            {
                planned.at = planned.at.min(now);
                progress.state = State::Waiting;
                progress.why = Some(StartReason::Requested);
            }
        }
    }

    /// The stages that make a set and have ended.
    pub(super) fn made(&self) -> Vec<Stage> {
        let ended = self
            .stages
            .iter()
            .filter(|(stage, progress)| stage.makes().is_some() && progress.state == State::Ended);
        ended.map(|(stage, _)| *stage).collect()
    }

    pub(super) fn demand(&mut self, stages: &[Stage], now: Timestamp, again: bool) -> Result<(), Refusal> {
        let running = |stage: &&Stage| self.stages.get(*stage).is_some_and(|p| p.state == State::Running);
        if let Some(stage) = stages.iter().find(running) {
            return Err(Refusal::Running(*stage));
        }
        let extra = NightPlan::extra(&self.settings, self.plan.night, now, stages);
        for mut planned in extra.stages {
            let stage = planned.stage;
            planned.until = self.plan.closes;
            self.plan.stages.retain(|known| known.stage != stage);
            self.plan.stages.push(planned);
            let progress = self.stages.entry(stage).or_insert_with(Progress::waiting);
            progress.state = State::Waiting;
            progress.why = Some(StartReason::Requested);
            progress.needs_waived = true;
            progress.again = again;
        }
        self.plan.stages.sort_by_key(|planned| planned.stage);
        Ok(())
    }

    pub(super) fn start_what_is_due(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        if self.early.is_some() {
            return;
        }
        self.repack_if_gained(clock.now);
        for planned in self.plan.stages.clone() {
            let PlannedStage { stage, at, until, peers } = planned;
            let needs_met = self.needs_met(stage, clock.now);
            let Some(progress) = self.stages.get_mut(&stage) else { continue };
            let Some(why) = progress.due(clock.now, at, needs_met) else { continue };
            if stage == Stage::Prune
                && let Some(reason) = clock.too_doubtful_to_prune()
            {
                progress.state = State::Ended;
                progress.ended_once = true;
                actions.push(Action::Miss { stage, reason });
                continue;
            }
            let late = clock.now.duration_since(at) > LATE_START;
            let why = if why == StartReason::Due && late && stage.needs().is_empty() {
                StartReason::CaughtUp
            } else {
                why
            };
            // A retry for missing sets does not wait: it fetches what is published now.
            let until = if why == StartReason::MissingSets { clock.now } else { until };
            let (attempt, again) = (progress.start(clock.now), progress.again);
            let settings = Arc::clone(&self.settings);
            actions.push(Action::Start(Start { stage, attempt, again, why, at, until, peers, settings }));
        }
    }

    /// Packs and ships once more when a set arrived late, after the last retry for missing sets.
    fn repack_if_gained(&mut self, now: Timestamp) {
        let pulling = self.stages.iter().any(|(stage, progress)| {
            stage.pulls().is_some() && (progress.next_try.is_some() || progress.state != State::Ended)
        });
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|p| p.state == State::Ended);
        let shipping = self.stages.get(&Stage::ShipArchive).is_some_and(|p| p.state == State::Running);
        let soon = self.next_repack().is_some_and(|at| now < at);
        if !self.gained || pulling || !packed || shipping || soon || now >= self.plan.closes {
            return;
        }
        (self.gained, self.repacked) = (false, Some(now));
        for stage in [Stage::PackArchive, Stage::ShipArchive] {
            if let Some(progress) = self.stages.get_mut(&stage) {
                progress.repeat(StartReason::Repack);
            }
        }
    }

    /// The time between two archives with late sets.
    fn next_repack(&self) -> Option<Timestamp> {
        self.repacked?.checked_add(LATER_TRIES_INTERVAL).ok()
    }

    fn needs_met(&self, stage: Stage, now: Timestamp) -> bool {
        stage.needs().iter().all(|need| {
            let given_up = || self.given_up_at(*need).is_some_and(|at| now >= at);
            self.stages.get(need).is_none_or(|progress| progress.ended_once) || given_up()
        })
    }

    /// When the stages that need this one no longer wait for its end: a remote may be slower than the night is long.
    fn given_up_at(&self, stage: Stage) -> Option<Timestamp> {
        let begun = self.stages.get(&stage).filter(|_| stage == Stage::ShipArchive)?.begun?;
        begun.checked_add(MAX_WAIT_FOR_SHIPPING).ok()
    }

    /// At the closing time, or before it for a reason: stops running stages and gives up waiting ones. At the closing time
    /// a packed archive continues shipping.
    pub(super) fn wind_up(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let packed = self.stages.get(&Stage::PackArchive).is_some_and(|p| p.ended_once);
        let may_ship = packed && self.early.is_none() && now < self.plan.next_opens;
        for (stage, progress) in &mut self.stages {
            let ships_on = *stage == Stage::ShipArchive && may_ship;
            match progress.state {
                State::Ended => progress.next_try = None,
                _ if ships_on => {}
                State::Running => {
                    if !progress.stopping {
                        progress.stopping = true;
                        actions.push(Action::Stop { stage: *stage });
                    }
                }
                State::Waiting | State::Backoff { .. } => {
                    progress.state = State::Ended;
                    progress.ended_once = true;
                    let what = if progress.attempts > 0 { "its retry" } else { "it could run" };
                    let early = self.early.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                    let reason = format!("the night closed before {what}{early}");
                    actions.push(Action::Miss { stage: *stage, reason });
                }
            }
        }
    }

    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let stages = self.plan.stages.iter().filter_map(|planned| {
            let progress = self.stages.get(&planned.stage)?;
            match progress.state {
                State::Waiting => Some(planned.at),
                State::Backoff { until } => Some(until),
                State::Ended => progress.next_try.map(|(at, _)| at),
                State::Running => None,
            }
        });
        let given_up = self.given_up_at(Stage::ShipArchive);
        let repack = self.next_repack().filter(|_| self.gained);
        stages
            .chain(given_up)
            .chain(repack)
            .chain([self.plan.closes, self.plan.next_opens])
            .filter(|at| *at > now)
            .min()
    }
}

fn plan(settings: &Settings, night: Night, opened: Timestamp, stages: &[Stage]) -> NightPlan {
    if night.is_extra() {
        NightPlan::extra(settings, night, opened, stages)
    } else {
        NightPlan::of(settings, night.date)
    }
}
