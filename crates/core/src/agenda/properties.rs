//! Properties that must be true for any clock, any order of results and any manual request.
#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::inventory::{Host, Inventory};
use crate::outcome::Outcome;
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
    ManualRequest(prop::sample::Index),
    Reload(i8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let outcome = prop::sample::select(vec![Outcome::Done, Outcome::Degraded, Outcome::Failed]);
    let one = prop_oneof![
        6 => (30i64..3600).prop_map(Move::Clock),
        1 => (-90_000i64..200_000).prop_map(Move::Clock),
        8 => (any::<prop::sample::Index>(), outcome, any::<bool>(), any::<bool>())
            .prop_map(|(which, outcome, retry, gained)| Move::End(which, outcome, retry, gained)),
        4 => Just(Move::Tick),
        1 => Just(Move::AskNight),
        1 => any::<prop::sample::Index>().prop_map(Move::ManualRequest),
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
    running: BTreeSet<Stage>,
    open: Option<NightPlan>,
    opened: BTreeSet<Night>,
    asked: bool,
    ended: BTreeSet<Stage>,
    starts: BTreeMap<Stage, u32>,
}

impl Watch {
    fn begin() -> Self {
        Self {
            agenda: Agenda::new(Arc::new(settings(0)), None),
            now: "2026-11-22T21:55:00Z".parse().unwrap(),
            running: BTreeSet::new(),
            open: None,
            opened: BTreeSet::new(),
            asked: false,
            ended: BTreeSet::new(),
            starts: BTreeMap::new(),
        }
    }

    fn clock(&self) -> Clock {
        Clock { now: self.now, synchronised: true, unsynchronised_for: Duration::ZERO }
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
                }
                Action::Start(Start { stage, attempt, .. }) => self.start(*stage, *attempt),
                Action::Stop { stage } => assert!(self.running.contains(stage), "{stage} does not run"),
                Action::Miss { stage, .. } => {
                    assert!(!self.running.contains(stage), "{stage} is missed while it runs");
                    self.ended.insert(*stage);
                }
                Action::Close => {
                    assert!(self.open.take().is_some() && self.running.is_empty());
                }
                Action::Doubt { .. } | Action::WakeAt(_) => {}
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
            let unmet = stage.needs().iter().find(|need| !self.ended.contains(need));
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
                self.running.remove(&stage);
                self.ended.insert(stage);
                self.step(Event::StageEnded(StageResult { stage, outcome, retry, gained }));
            }
            Move::AskNight => {
                let extra = (1..).map(|extra| Night { date: date_of(self.now), extra });
                let extra = extra.into_iter().find(|night| !self.opened.contains(night)).unwrap();
                self.ask(ManualRequest::Night { extra });
            }
            Move::ManualRequest(which) => {
                let stage = Stage::ALL[which.index(Stage::ALL.len())];
                self.ask(ManualRequest::Stages { stages: vec![stage], night: None });
            }
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
                watch.running.remove(&stage);
                watch.ended.insert(stage);
                watch.step(Event::StageEnded(StageResult {
                    stage,
                    outcome: Outcome::Interrupted,
                    retry: false,
                    gained: false,
                }));
            }
            prop_assert_ne!(watch.open.map(|plan| plan.night), Some(plan.night));
        }
    }
}
