//! Properties that must be true for any clock, any order of results and any manual request.
#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use proptest::prelude::*;

use super::*;
use crate::inventory::{Host, Inventory};
use crate::outcome::{Outcome, Verdict};
use crate::record::{Line, Step};
use crate::role::Role;
use crate::settings::testing;
use crate::stage::Stage;

#[derive(Debug, Clone)]
enum Move {
    /// The clock advances, or jumps.
    Clock(i64),
    /// One of the running stages ends with this result.
    End(prop::sample::Index, Outcome, bool, bool),
    Tick,
    AskNight,
    /// A stage is requested in the open night, or in an extra night so many days from now.
    ManualRequest(prop::sample::Index, Option<(i16, u16)>),
    CloseNight,
    Restored,
    Synchronise(bool),
    /// The daemon is killed and started again.
    Restart,
    Reload(i8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let outcome = prop::sample::select(vec![Outcome::Done, Outcome::Degraded, Outcome::Failed]);
    let one = prop_oneof![
        6 => (30i64..3600).prop_map(Move::Clock),
        1 => (-90_000i64..200_000).prop_map(Move::Clock),
        1 => (-40_000_000i64..40_000_000).prop_map(Move::Clock),
        8 => (any::<prop::sample::Index>(), outcome, any::<bool>(), any::<bool>())
            .prop_map(|(which, outcome, retry, gained)| Move::End(which, outcome, retry, gained)),
        4 => Just(Move::Tick),
        1 => Just(Move::AskNight),
        1 => (any::<prop::sample::Index>(), prop::option::of((-3i16..400, 0u16..3)))
            .prop_map(|(which, night)| Move::ManualRequest(which, night)),
        1 => Just(Move::CloseNight),
        1 => Just(Move::Restored),
        1 => any::<bool>().prop_map(Move::Synchronise),
        1 => Just(Move::Restart),
        1 => (-20i8..20).prop_map(Move::Reload),
    ];
    prop::collection::vec(one, 1..150)
}

fn settings(shift: i8) -> Settings {
    let roles = Role::ALL.into_iter().collect();
    let mut settings = Settings {
        inventory: Inventory::new([Host { roles, ..testing::host("m1") }]),
        ..testing::settings("m1")
    };
    let minute = 30 + shift;
    settings.stages.get_mut(Stage::PullNodes).at = format!("{minute} 22 * * *").parse().unwrap();
    settings
}

/// Checks the actions of an agenda for violations.
struct Watch {
    agenda: Agenda,
    now: Timestamp,
    synchronised: bool,
    /// The record of the open night.
    lines: Vec<Line>,
    newest: Option<Record>,
    running: BTreeSet<Stage>,
    open: Option<NightPlan>,
    opened: BTreeSet<Night>,
    left_open: Vec<Record>,
    asked: bool,
    ended: BTreeSet<Stage>,
    starts: BTreeMap<Stage, u32>,
}

impl Watch {
    fn begin() -> Self {
        Self {
            agenda: Agenda::new(Arc::new(settings(0)), &[], Vec::new()),
            now: "2026-11-22T21:55:00Z".parse().unwrap(),
            synchronised: true,
            lines: Vec::new(),
            newest: None,
            running: BTreeSet::new(),
            open: None,
            opened: BTreeSet::new(),
            left_open: Vec::new(),
            asked: false,
            ended: BTreeSet::new(),
            starts: BTreeMap::new(),
        }
    }

    fn clock(&self) -> Clock {
        Clock { now: self.now, synchronised: self.synchronised, unsynchronised_for: Duration::ZERO }
    }

    fn note(&mut self, step: Step) {
        self.lines.push(Line { at: self.now, step });
    }

    fn note_end(&mut self, stage: Stage, outcome: Outcome) {
        let attempt = self.starts.get(&stage).copied().unwrap_or(1);
        self.note(Step::Ended { stage, attempt, outcome, reason: None, duration_ms: 1 });
    }

    fn restart(&mut self) {
        self.left_open.extend(Record::from_lines(std::mem::take(&mut self.lines)));
        let nights: Vec<Night> = self.opened.iter().copied().collect();
        let read = self.newest.iter().chain(&self.left_open).cloned().collect();
        self.agenda = Agenda::new(Arc::new(settings(0)), &nights, read);
        self.running.clear();
        self.open = None;
        self.step(Event::Tick);
    }

    fn take(&mut self, actions: &[Action]) {
        assert!(matches!(actions.last(), Some(Action::WakeAt(_))), "the last action is WakeAt");
        for action in actions {
            match action {
                Action::Open(plan) => {
                    assert!(self.open.is_none(), "two nights open at once");
                    assert!(self.opened.insert(plan.night), "{} opens twice", plan.night);
                    self.open = Some(plan.clone());
                    self.ended.clear();
                    self.starts.clear();
                    self.asked = plan.night.is_extra();
                    self.lines.clear();
                    self.note(opened(plan));
                }
                Action::Resume(plan) => {
                    assert!(self.open.is_none(), "two nights open at once");
                    let at = self.left_open.iter().position(|record| record.night == plan.night).unwrap();
                    let record = self.left_open.swap_remove(at);
                    let ended = record.stages.iter().filter(|(_, state)| state.outcome.is_some());
                    self.ended = ended.map(|(stage, _)| *stage).collect();
                    self.starts = record.stages.iter().map(|(stage, it)| (*stage, it.attempts)).collect();
                    self.lines = lines_of(&record);
                    self.open = Some(plan.clone());
                    self.asked = true;
                }
                Action::Start(Start { stage, attempt, why, .. }) => {
                    self.start(*stage, *attempt);
                    self.note(Step::Started { stage: *stage, attempt: *attempt, why: *why });
                }
                Action::Stop { stage } => assert!(self.running.contains(stage), "{stage} does not run"),
                Action::Miss { stage, .. } => {
                    assert!(!self.running.contains(stage), "{stage} is missed while it runs");
                    self.ended.insert(*stage);
                    self.note_end(*stage, Outcome::Missed);
                }
                Action::Close { .. } => {
                    assert!(self.open.take().is_some() && self.running.is_empty());
                    let (verdict, reasons) = (Verdict::Complete, Vec::new());
                    self.note(Step::Closed { verdict, reasons });
                    self.newest = Record::from_lines(std::mem::take(&mut self.lines));
                }
                Action::Hold(_) | Action::Lost(_) | Action::Skip(_) => {}
                Action::FutureRecord(_) | Action::WakeAt(_) => {}
            }
        }
    }

    fn start(&mut self, stage: Stage, attempt: u32) {
        let plan = self.open.as_ref().expect("no night is open");
        assert!(self.running.insert(stage), "{stage} runs twice at once");
        if stage != Stage::ShipArchive {
            assert!(self.now < plan.closes, "{stage} starts after the closing");
        }
        let before = self.starts.insert(stage, attempt).unwrap_or(0);
        assert!(attempt > before, "{stage} has attempt {attempt} after {before}");
        assert!(attempt < 100, "{stage} is retried without end");
        if !self.asked {
            // The drill and the prune wait for shipping only so long.
            let is_met = |need: &Stage| {
                self.ended.contains(need) || (*need == Stage::ShipArchive && self.starts.contains_key(need))
            };
            let unmet = stage.needs().iter().find(|need| !is_met(need));
            assert_eq!(unmet, None, "{stage} starts before what it needs");
        }
    }

    fn act(&mut self, step: Move) {
        match step {
            Move::Clock(seconds) => self.now += SignedDuration::from_secs(seconds),
            Move::Tick => self.step(Event::Tick),
            Move::Reload(shift) => self.step(Event::Reloaded(Arc::new(settings(shift)))),
            Move::End(which, outcome, retry, gained) => {
                let running: Vec<Stage> = self.running.iter().copied().collect();
                if running.is_empty() {
                    return;
                }
                let stage = running[which.index(running.len())];
                self.end(stage, outcome, retry, gained);
            }
            Move::Synchronise(synchronised) => {
                self.synchronised = synchronised;
                self.step(Event::Tick);
            }
            Move::Restart => self.restart(),
            Move::AskNight => self.ask(ManualRequest::Night {
                night: None,
                again: false,
                stages: Vec::new(),
                restored: None,
                backup: None,
            }),
            Move::CloseNight => self.ask(ManualRequest::Close),
            Move::Restored => self.ask(ManualRequest::Restored),
            Move::ManualRequest(which, night) => {
                let stage = Stage::ALL[which.index(Stage::ALL.len())];
                let night = night.map(|(days, extra)| {
                    let date = date_of(self.now).saturating_add(jiff::Span::new().days(days));
                    Night { date, extra }
                });
                self.ask(ManualRequest::Stages { stages: vec![stage], night, again: false });
            }
        }
    }

    fn end(&mut self, stage: Stage, outcome: Outcome, retry: bool, gained: bool) {
        self.running.remove(&stage);
        self.ended.insert(stage);
        self.note_end(stage, outcome);
        self.step(Event::StageEnded(StageResult { stage, outcome, retry, gained }));
    }

    /// Ends what runs, as the daemon does with what is stopped, until nothing runs.
    fn end_all(&mut self) {
        while let Some(stage) = self.running.first().copied() {
            self.end(stage, Outcome::Interrupted, false, false);
        }
    }

    fn ask(&mut self, ask: ManualRequest) {
        self.asked = true;
        if let Ok(actions) = self.agenda.request(self.clock(), ask) {
            self.take(&actions);
        }
    }

    fn step(&mut self, event: Event) {
        let actions = self.agenda.step(self.clock(), event);
        self.take(&actions);
    }
}

fn opened(plan: &NightPlan) -> Step {
    Step::Opened {
        format: 1,
        night: plan.night,
        host: plan.host.clone(),
        version: "0".into(),
        closes: plan.closes,
        expected: vec![],
        stages: plan.stages.iter().map(|planned| planned.stage).collect(),
        remotes: vec![],
        restored: None,
        backup: None,
        tolerate: None,
    }
}

/// The lines that a record was put together from, as far as the agenda reads them.
fn lines_of(record: &Record) -> Vec<Line> {
    let opened = Step::Opened {
        format: 1,
        night: record.night,
        host: record.host.clone(),
        version: "0".into(),
        closes: record.closes,
        expected: vec![],
        stages: record.planned.clone(),
        remotes: vec![],
        restored: None,
        backup: None,
        tolerate: None,
    };
    let mut lines = vec![Line { at: record.opened, step: opened }];
    for (stage, state) in &record.stages {
        let (stage, attempt, why) = (*stage, state.attempts, state.why);
        lines.push(Line { at: state.started, step: Step::Started { stage, attempt, why } });
        if let (Some(at), Some(outcome)) = (state.ended, state.outcome) {
            let step = Step::Ended { stage, attempt, outcome, reason: None, duration_ms: 1 };
            lines.push(Line { at, step });
        }
    }
    lines
}

fn date_of(now: Timestamp) -> Date {
    now.to_zoned(jiff::tz::TimeZone::UTC).date()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_stage_runs_twice_at_once_early_or_after_the_closing(moves in moves()) {
        let mut watch = Watch::begin();
        moves.into_iter().for_each(|step| watch.act(step));
    }

    #[test]
    fn every_night_closes_once_its_stages_have_ended(moves in moves()) {
        let mut watch = Watch::begin();
        moves.into_iter().for_each(|step| watch.act(step));
        // After the next opening, and with all stages stopped, the night must be closed.
        if let Some(plan) = watch.open.clone() {
            watch.now = watch.now.max(plan.next_opens) + SignedDuration::from_secs(1);
            watch.step(Event::Tick);
            for stage in watch.running.clone() {
                watch.end(stage, Outcome::Interrupted, false, false);
            }
            prop_assert_ne!(watch.open.map(|plan| plan.night), Some(plan.night));
        }
    }

    #[test]
    fn the_next_night_of_the_schedule_opens_or_the_reason_is_shown(moves in moves()) {
        let mut watch = Watch::begin();
        moves.into_iter().for_each(|step| watch.act(step));
        let window = watch.agenda.settings().window.clone();
        let next = Night::of(window.next_after(watch.now));
        prop_assume!(!watch.opened.contains(&next));
        watch.now = window.opening(next.date) + SignedDuration::from_secs(60);
        watch.step(Event::Tick);
        let held = watch.agenda.held(watch.clock());
        let is_open = |watch: &Watch| watch.open.as_ref().map(|plan| plan.night) == Some(next);
        prop_assert!(is_open(&watch) || held.is_some_and(|held| held.night == next));
        // With a synchronised clock, only what runs and what was recorded later than now can hold it.
        watch.synchronised = true;
        watch.step(Event::Tick);
        if !is_open(&watch) {
            watch.end_all();
        }
        let held = watch.agenda.held(watch.clock());
        let ahead = held.is_some_and(|held| held.reason.contains("earlier than the newest record"));
        prop_assert!(is_open(&watch) || ahead);
    }
}
