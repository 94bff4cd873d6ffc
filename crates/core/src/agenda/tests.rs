#![allow(clippy::unwrap_used)]
mod opening;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{Date, date, time};
use jiff::tz::TimeZone;

use super::*;
use crate::inventory::{Host, Inventory};
use crate::night::NightWindow;
use crate::outcome::Outcome;
use crate::record::{Fate, Line, StartReason, Step};
use crate::role::{Role, Roles};
use crate::settings::testing;
use crate::stage::Stage;

/// `nightshift run night`, perhaps with `--night`.
fn run_night(night: Option<Night>) -> ManualRequest {
    ManualRequest::Night { night, again: false, stages: Vec::new(), restored: None, backup: None }
}

fn settings(roles: &[Role]) -> Settings {
    let host = |name: &str, roles: Roles| Host { roles, ..testing::host(name) };
    let others = (1..=3).map(|n| host(&format!("n{n}"), Roles::NONE.with(Role::Node)));
    let own = host("m1", roles.iter().copied().collect());
    Settings {
        inventory: Inventory::new(others.chain([own])),
        window: NightWindow {
            opens: time(22, 0, 0, 0),
            closes: time(4, 0, 0, 0),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        },
        ..testing::settings("m1")
    }
}

fn all_roles() -> Settings {
    settings(&Role::ALL)
}

/// A simulated host: its clock moves to the next event when nothing is left to do.
struct World {
    agenda: Agenda,
    now: Timestamp,
    synchronised: bool,
    takes: SignedDuration,
    running: Vec<(Stage, Timestamp)>,
    outcomes: BTreeMap<Stage, (Outcome, bool, bool)>,
    log: Vec<(Timestamp, Action)>,
}

impl World {
    fn ask(&mut self, request: ManualRequest) -> Result<(), Refusal> {
        let actions = self.agenda.request(self.clock(), request)?;
        self.take(actions);
        Ok(())
    }

    fn at(now: &str, settings: Settings) -> Self {
        Self {
            agenda: Agenda::new(Arc::new(settings), &[], Vec::new()),
            now: now.parse().unwrap(),
            synchronised: true,
            takes: SignedDuration::from_secs(60),
            running: Vec::new(),
            outcomes: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn clock(&self) -> Clock {
        Clock { now: self.now, synchronised: self.synchronised, unsynchronised_for: Duration::ZERO }
    }

    fn take(&mut self, actions: Vec<Action>) -> Timestamp {
        let mut wake = Timestamp::MAX;
        for action in actions {
            match &action {
                Action::Start(Start { stage, .. }) => self.running.push((*stage, self.now + self.takes)),
                Action::Stop { stage } => self.running.retain(|(running, _)| running != stage),
                Action::WakeAt(at) => wake = *at,
                _ => {}
            }
            let stopped = if let Action::Stop { stage } = action { Some(stage) } else { None };
            self.log.push((self.now, action));
            if let Some(stage) = stopped {
                let ended = StageResult { stage, outcome: Outcome::Failed, retry: false, gained: false };
                let actions = self.agenda.step(self.clock(), Event::StageEnded(ended));
                wake = self.take(actions);
            }
        }
        wake
    }

    fn run_until(&mut self, end: &str) {
        let end: Timestamp = end.parse().unwrap();
        let mut wake = {
            let actions = self.agenda.step(self.clock(), Event::Tick);
            self.take(actions)
        };
        loop {
            let finishing = self.running.iter().map(|(_, at)| *at).min();
            let next = finishing.map_or(wake, |at| at.min(wake));
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            let due = self.running.iter().position(|(_, at)| *at <= next);
            let event = match due {
                Some(at) => {
                    let (stage, _) = self.running.remove(at);
                    let (outcome, retry, gained) =
                        self.outcomes.get(&stage).copied().unwrap_or((Outcome::Done, false, false));
                    Event::StageEnded(StageResult { stage, outcome, retry, gained })
                }
                None => Event::Tick,
            };
            let actions = self.agenda.step(self.clock(), event);
            wake = self.take(actions);
        }
    }

    fn starts(&self) -> Vec<(Timestamp, Stage, StartReason)> {
        self.log
            .iter()
            .filter_map(|(at, action)| match action {
                Action::Start(Start { stage, why, .. }) => Some((*at, *stage, *why)),
                _ => None,
            })
            .collect()
    }

    fn starts_of(&self, wanted: Stage) -> Vec<(String, StartReason)> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        self.starts()
            .into_iter()
            .filter(|(_, stage, _)| *stage == wanted)
            .map(|(at, _, why)| (at.to_zoned(zone.clone()).strftime("%d %R").to_string(), why))
            .collect()
    }

    fn count(&self, wanted: impl Fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|(_, action)| wanted(action)).count()
    }
}

#[test]
fn a_night_runs_its_stages_once_at_their_times() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-23T12:00:00Z");
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let started: Vec<_> = world
        .starts()
        .into_iter()
        .map(|(at, stage, _)| format!("{} {stage}", at.to_zoned(zone.clone()).strftime("%R")))
        .collect();
    assert_eq!(
        started,
        [
            "22:00 snapshot-etcd",
            "22:10 collect-node",
            "22:29 pull-etcd",
            "22:30 pull-nodes",
            "22:40 collect-master",
            "23:45 mirror-masters",
            "23:50 pack-archive",
            "23:55 ship-archive",
            "00:20 drill",
            "00:30 prune",
        ]
    );
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 1);
    assert_eq!(world.count(|action| matches!(action, Action::Close { .. })), 1);
}

#[test]
fn a_year_of_nights_runs_every_stage_once_a_night_over_both_clock_changes() {
    let mut world = World::at("2026-01-01T12:00:00Z", all_roles());
    world.run_until("2027-01-01T12:00:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 365);
    assert_eq!(world.count(|action| matches!(action, Action::Miss { .. })), 0);
    for stage in Stage::ALL {
        assert_eq!(world.starts_of(stage).len(), 365, "{stage}");
    }
    let at_ten = world.starts_of(Stage::SnapshotEtcd);
    assert!(at_ten.iter().all(|(at, why)| at.ends_with("22:00") && *why == StartReason::Due));
}

#[test]
fn a_host_that_was_down_catches_up_in_order_while_the_night_is_open() {
    let mut world = World::at("2026-11-23T00:05:00Z", all_roles());
    world.run_until("2026-11-23T02:50:00Z");
    let stages: Vec<_> = world.starts().into_iter().map(|(_, stage, _)| stage).collect();
    assert_eq!(stages.len(), Stage::ALL.len());
    let place = |stage| stages.iter().position(|s| *s == stage).unwrap();
    assert!(place(Stage::MirrorMasters) > place(Stage::PullNodes));
    assert!(place(Stage::ShipArchive) > place(Stage::PackArchive));
    assert_eq!(world.starts_of(Stage::SnapshotEtcd), [("23 01:05".into(), StartReason::CaughtUp)]);
}

#[test]
fn after_the_closing_nothing_is_caught_up() {
    let mut world = World::at("2026-11-23T03:00:00Z", all_roles());
    world.run_until("2026-11-23T20:59:00Z");
    assert!(world.starts().is_empty());
}

#[test]
fn packing_waits_for_the_pulls_and_shipping_for_packing() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.takes = SignedDuration::from_mins(50);
    world.run_until("2026-11-23T12:00:00Z");
    let start = |stage| world.starts_of(stage)[0].0.clone();
    assert_eq!(start(Stage::MirrorMasters), "22 23:45");
    assert_eq!(start(Stage::PackArchive), "23 00:35");
    assert_eq!(start(Stage::ShipArchive), "23 01:25");
}

#[test]
fn what_is_absent_is_tried_with_backoff_and_then_now_and_then_until_shortly_before_the_closing() {
    for stage in [Stage::SnapshotEtcd, Stage::CollectNode, Stage::ShipArchive] {
        let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
        world.outcomes.insert(stage, (Outcome::Failed, true, false));
        world.run_until("2026-11-23T12:00:00Z");
        let starts = world.starts_of(stage);
        assert!(starts.len() > 10, "{starts:?}");
        assert!(starts[1..].iter().all(|(_, why)| *why == StartReason::Retry), "{starts:?}");
        assert!(starts.last().unwrap().0.as_str() <= "23 03:30", "{starts:?}");
        let packed = world.starts_of(Stage::PackArchive);
        assert_eq!(packed.len(), 1, "the others did not wait for it");
    }
}

#[test]
fn a_set_of_this_host_that_is_made_late_is_packed_and_shipped_in_a_second_archive() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.outcomes.insert(Stage::SnapshotEtcd, (Outcome::Failed, true, false));
    world.run_until("2026-11-22T23:20:00Z");
    assert_eq!(world.starts_of(Stage::ShipArchive).len(), 1);
    world.outcomes.insert(Stage::SnapshotEtcd, (Outcome::Done, false, true));
    world.run_until("2026-11-23T12:00:00Z");
    assert_eq!(world.starts_of(Stage::PackArchive).len(), 2);
    assert_eq!(world.starts_of(Stage::ShipArchive).len(), 2);
}

#[test]
fn a_permanent_failure_is_not_retried() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.outcomes.insert(Stage::CollectNode, (Outcome::Failed, false, false));
    world.run_until("2026-11-23T12:00:00Z");
    assert_eq!(world.starts_of(Stage::CollectNode).len(), 1);
}

#[test]
fn a_pull_retries_for_missing_sets_until_shortly_before_the_closing() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.outcomes.insert(Stage::PullNodes, (Outcome::Degraded, false, false));
    world.run_until("2026-11-23T12:00:00Z");
    let pulls = world.starts_of(Stage::PullNodes);
    assert!(pulls.len() > 10, "{pulls:?}");
    assert!(pulls[1..].iter().all(|(_, why)| *why == StartReason::MissingSets));
    assert!(pulls.last().unwrap().0.as_str() <= "23 03:30");
    assert_eq!(world.starts_of(Stage::PackArchive).len(), 1, "nothing arrived, so nothing is packed again");
}

#[test]
fn a_late_set_is_packed_and_shipped_in_a_second_archive() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.outcomes.insert(Stage::PullNodes, (Outcome::Degraded, false, false));
    world.run_until("2026-11-22T23:20:00Z");
    assert_eq!(world.starts_of(Stage::ShipArchive).len(), 1);
    world.outcomes.insert(Stage::PullNodes, (Outcome::Done, false, true));
    world.run_until("2026-11-23T12:00:00Z");
    assert_eq!(world.starts_of(Stage::PackArchive).len(), 2);
    assert_eq!(world.starts_of(Stage::ShipArchive).len(), 2);
    assert_eq!(world.starts_of(Stage::PackArchive)[1].1, StartReason::Repack);
}

#[test]
fn the_closing_stops_running_stages_and_misses_waiting_ones_but_shipping_continues() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-22T23:00:00Z");
    world.takes = SignedDuration::from_hours(30);
    world.run_until("2026-11-23T02:00:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Close { .. })), 0);
    let mut stuck = World::at("2026-11-22T12:00:00Z", all_roles());
    stuck.takes = SignedDuration::from_hours(30);
    stuck.run_until("2026-11-23T12:00:00Z");
    assert_eq!(stuck.count(|action| matches!(action, Action::Close { .. })), 1);
    assert_eq!(stuck.count(|action| matches!(action, Action::Stop { .. })), 5);
    assert_eq!(stuck.count(|action| matches!(action, Action::Miss { .. })), 5);
}

#[test]
fn a_packed_archive_continues_shipping_until_the_next_night_opens() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-22T22:52:00Z");
    world.takes = SignedDuration::from_hours(48);
    world.run_until("2026-11-23T20:59:59Z");
    assert_eq!(world.count(|action| matches!(action, Action::Close { .. })), 0, "still shipping");
    world.run_until("2026-11-23T21:00:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Stop { stage: Stage::ShipArchive })), 1);
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 2);
}

#[test]
fn a_clock_that_jumps_back_starts_nothing_twice() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-22T22:35:00Z");
    let before = world.starts().len();
    world.now = "2026-11-22T21:00:00Z".parse().unwrap();
    world.run_until("2026-11-22T22:35:00Z");
    assert_eq!(world.starts().len(), before);
}

#[test]
fn a_clock_that_jumps_past_the_closing_closes_the_night_and_reports_what_was_missed() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-22T21:20:00Z");
    world.now = "2026-11-23T09:00:00Z".parse().unwrap();
    world.run_until("2026-11-23T09:00:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Close { .. })), 1);
    assert_eq!(world.count(|action| matches!(action, Action::Miss { .. })), 8);
}

#[test]
fn no_night_opens_while_the_clock_is_not_synchronised() {
    let mut world = World::at("2026-11-22T21:00:00Z", all_roles());
    world.synchronised = false;
    world.run_until("2026-11-22T21:10:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 0);
    assert_eq!(world.count(|action| matches!(action, Action::Hold(_))), 1);
    let after_grace = Clock { unsynchronised_for: Duration::from_secs(901), ..world.clock() };
    let actions = world.agenda.step(after_grace, Event::Tick);
    assert!(actions.iter().any(|action| matches!(action, Action::Open(_))));
}

#[test]
fn no_night_opens_on_a_clock_earlier_than_the_newest_record() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-23T12:00:00Z");
    world.now = "2026-11-21T21:30:00Z".parse().unwrap();
    world.run_until("2026-11-21T23:00:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 1);
    let held = world.agenda.held(world.clock()).unwrap();
    assert_eq!(held.night.to_string(), "2026-11-21");
    assert!(held.reason.contains("earlier than the newest record (2026-11-23 "), "{held:?}");
}

#[test]
fn no_night_opens_on_an_unsynchronised_clock_that_jumped_ahead_and_that_is_reported_once() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-23T12:00:00Z");
    world.synchronised = false;
    world.now = "2026-11-26T21:00:00Z".parse().unwrap();
    for minute in 1..5 {
        world.run_until(&format!("2026-11-26T21:0{minute}:00Z"));
    }
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 1);
    assert_eq!(world.count(|action| matches!(action, Action::Hold(_))), 1);
}

#[test]
fn a_reload_changes_the_times_of_stages_that_have_not_begun() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-22T21:20:00Z");
    let mut edited = all_roles();
    edited.stages.get_mut(Stage::SnapshotEtcd).at = "30 23 * * *".parse().unwrap();
    edited.stages.get_mut(Stage::CollectMaster).at = "55 22 * * *".parse().unwrap();
    let actions = world.agenda.step(world.clock(), Event::Reloaded(Arc::new(edited)));
    world.take(actions);
    world.run_until("2026-11-23T12:00:00Z");
    assert_eq!(world.starts_of(Stage::CollectMaster)[0].0, "22 22:55");
    assert_eq!(world.starts_of(Stage::SnapshotEtcd).len(), 1, "it had begun");
}

/// The settings that a stage was started with.
fn started_with(world: &World, wanted: Stage) -> Arc<Settings> {
    let started = world.log.iter().rev().find_map(|(_, action)| match action {
        Action::Start(start) if start.stage == wanted => Some(Arc::clone(&start.settings)),
        _ => None,
    });
    started.unwrap()
}

fn reload(world: &mut World, fresh: Settings) {
    let actions = world.agenda.step(world.clock(), Event::Reloaded(Arc::new(fresh)));
    world.take(actions);
}

/// Settings in which everything that a reload may change tonight, and something that it may not, has changed.
fn edited() -> Settings {
    let mut edited = all_roles();
    for stage in Stage::ALL {
        let stage = edited.stages.get_mut(stage);
        (stage.parallel, stage.retries) = (1, 0);
    }
    edited.vault.min_free = 1;
    edited
}

#[test]
fn a_reload_leaves_the_retries_of_a_stage_that_has_begun() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.outcomes.insert(Stage::CollectNode, (Outcome::Failed, true, false));
    world.outcomes.insert(Stage::CollectMaster, (Outcome::Failed, true, false));
    world.run_until("2026-11-22T21:10:30Z");
    reload(&mut world, edited());
    world.run_until("2026-11-23T12:00:00Z");
    assert!(world.starts_of(Stage::CollectNode).len() > 4, "it had begun with 3 retries");
    assert_eq!(world.starts_of(Stage::CollectMaster).len(), 1, "it had not begun");
}

#[test]
fn stages_that_have_not_begun_start_with_their_new_settings_and_tonights_vault() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-22T21:20:00Z");
    reload(&mut world, edited());
    assert_eq!(world.agenda.settings().vault.min_free, 1);
    world.run_until("2026-11-23T12:00:00Z");
    let tonight = started_with(&world, Stage::PullNodes);
    assert_eq!(tonight.stages.get(Stage::PullNodes).parallel, 1);
    assert_eq!(tonight.stages.get(Stage::CollectNode).parallel, 8, "it had begun");
    assert_eq!(tonight.vault.min_free, 0, "the vault's settings change from the next night on");
    world.run_until("2026-11-24T12:00:00Z");
    assert_eq!(started_with(&world, Stage::PullNodes).vault.min_free, 1);
}

#[test]
fn an_extra_night_follows_the_same_rule_of_reloads() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.outcomes.insert(Stage::SnapshotEtcd, (Outcome::Failed, true, false));
    let extra: Night = "2026-11-22.1".parse().unwrap();
    world.ask(run_night(Some(extra))).unwrap();
    reload(&mut world, edited());
    let request = ManualRequest::Stages { stages: vec![Stage::PullNodes], night: Some(extra), again: false };
    world.ask(request).unwrap();
    let pull = started_with(&world, Stage::PullNodes);
    assert_eq!(pull.stages.get(Stage::PullNodes).parallel, 1, "it had not begun");
    assert_eq!(pull.vault.min_free, 0, "the vault's settings change from the next night on");
    world.run_until("2026-11-22T20:00:00Z");
    // An extra night closes when all its stages have ended.
    assert_eq!(world.starts_of(Stage::SnapshotEtcd).len(), 4, "it had begun with 3 retries");
}

#[test]
fn a_requested_night_keeps_its_times_over_a_reload() {
    let mut world = World::at("2026-11-22T21:00:30Z", all_roles());
    world.run_until("2026-11-22T21:01:00Z");
    world.ask(run_night(None)).unwrap();
    reload(&mut world, edited());
    world.run_until("2026-11-22T21:15:00Z");
    assert_eq!(world.starts().len(), Stage::ALL.len());
    assert_eq!(started_with(&world, Stage::Prune).stages.get(Stage::Prune).parallel, 1);
}

fn record_of(lines: Vec<(&str, Step)>) -> Record {
    let opened = Step::Opened {
        format: 1,
        night: "2026-11-22".parse().unwrap(),
        host: "m1".parse().unwrap(),
        version: "0".into(),
        closes: "2026-11-23T03:00:00Z".parse().unwrap(),
        expected: vec![],
        stages: Stage::ALL.to_vec(),
        remotes: vec![],
        restored: None,
        backup: None,
        tolerate: None,
    };
    let lines = [("2026-11-22T21:00:00Z", opened)].into_iter().chain(lines);
    Record::from_lines(lines.map(|(at, step)| Line { at: at.parse().unwrap(), step })).unwrap()
}

#[test]
fn a_restart_runs_an_interrupted_stage_again_and_leaves_ended_ones() {
    let started = |stage| Step::Started { stage, attempt: 1, why: StartReason::Due };
    let ended = |stage, outcome| Step::Ended { stage, attempt: 1, outcome, reason: None, duration_ms: 1 };
    let record = record_of(vec![
        ("2026-11-22T21:00:00Z", started(Stage::SnapshotEtcd)),
        ("2026-11-22T21:01:00Z", ended(Stage::SnapshotEtcd, Outcome::Done)),
        ("2026-11-22T21:10:00Z", started(Stage::CollectNode)),
    ]);
    let mut world = World::at("2026-11-22T21:20:00Z", all_roles());
    world.agenda = Agenda::new(Arc::new(all_roles()), &[], vec![record]);
    world.run_until("2026-11-22T21:25:00Z");
    assert!(world.starts_of(Stage::SnapshotEtcd).is_empty());
    assert_eq!(world.starts_of(Stage::CollectNode).len(), 1);
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 0, "it is open already");
}

#[test]
fn a_restart_continues_a_requested_stage_at_once_although_it_was_not_planned() {
    let started = Step::Started { stage: Stage::PackArchive, attempt: 1, why: StartReason::Requested };
    let mut record = record_of(vec![("2026-11-22T21:10:00Z", started)]);
    record.planned = vec![Stage::SnapshotEtcd];
    let mut world = World::at("2026-11-22T21:20:00Z", all_roles());
    world.agenda = Agenda::new(Arc::new(all_roles()), &[], vec![record]);
    // At once, and not at 22:50 when the schedule has it.
    world.run_until("2026-11-22T21:21:00Z");
    let attempts = world.log.iter().filter_map(|(_, action)| match action {
        Action::Start(start) if start.stage == Stage::PackArchive => Some(start.attempt),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [2]);
}

#[test]
fn a_record_left_open_is_closed_when_its_night_is_over() {
    let record = record_of(vec![]);
    let mut world = World::at("2026-11-23T10:00:00Z", all_roles());
    world.agenda = Agenda::new(Arc::new(all_roles()), &[], vec![record]);
    world.run_until("2026-11-23T10:01:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Close { .. })), 1);
    assert_eq!(world.count(|action| matches!(action, Action::Miss { .. })), 10);
}

#[test]
fn an_extra_night_creates_this_hosts_sets_and_closes() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    let extra: Night = "2026-11-22.1".parse().unwrap();
    world.ask(run_night(Some(extra))).unwrap();
    world.run_until("2026-11-22T13:00:00Z");
    let stages: Vec<_> = world.starts().into_iter().map(|(_, stage, _)| stage).collect();
    assert_eq!(stages, [Stage::SnapshotEtcd, Stage::CollectNode, Stage::CollectMaster]);
    assert_eq!(world.count(|action| matches!(action, Action::Close { .. })), 1);
    world.run_until("2026-11-22T22:00:00Z");
    assert_eq!(world.count(|action| matches!(action, Action::Open(_))), 2, "the scheduled night opens too");
}

#[test]
fn an_operator_can_start_all_stages_of_the_night_at_once() {
    let mut world = World::at("2026-11-22T21:00:30Z", all_roles());
    world.run_until("2026-11-22T21:01:00Z");
    world.ask(run_night(None)).unwrap();
    world.run_until("2026-11-22T21:10:00Z");
    assert_eq!(world.starts().len(), Stage::ALL.len());
}

#[test]
fn a_manual_request_is_refused_where_the_stage_cannot_run() {
    let mut world = World::at("2026-11-22T21:00:30Z", settings(&[Role::Node]));
    let ask = |stage| ManualRequest::Stages { stages: vec![stage], night: None, again: false };
    world.run_until("2026-11-22T21:10:00Z");
    let clock = world.clock();
    assert!(matches!(world.agenda.request(clock, ask(Stage::PullEtcd)), Err(Refusal::NotForThisHost { .. })));
    assert_eq!(
        world.agenda.request(clock, ask(Stage::CollectNode)),
        Err(Refusal::Running(Stage::CollectNode))
    );
    let mut day = World::at("2026-11-22T12:00:00Z", settings(&[Role::Node]));
    let clock = day.clock();
    assert_eq!(day.agenda.request(clock, ask(Stage::CollectNode)), Err(Refusal::NoNight));
}

#[test]
fn a_night_in_which_no_stage_fires_is_not_opened() {
    let mut weekly = settings(&[Role::Node]);
    for stage in Stage::ALL {
        weekly.stages.get_mut(stage).at = "0 23 * * sun".parse().unwrap();
    }
    let mut world = World::at("2026-11-22T12:00:00Z", weekly);
    world.run_until("2026-12-05T12:00:00Z");
    let nights: Vec<Date> = world
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            Action::Open(plan) => Some(plan.night.date),
            _ => None,
        })
        .collect();
    assert_eq!(nights, [date(2026, 11, 22), date(2026, 11, 29)]);
}

#[test]
fn nothing_is_packed_again_after_the_closing() {
    use crate::digest::Digest;
    use crate::record::{Packed, SetReport};
    use crate::set_path::SetId;
    let late = SetReport {
        set: SetId::first("n1".parse().unwrap(), "2026-11-22".parse().unwrap(), Role::Node),
        fate: Fate::Late,
        grade: None,
        from: None,
        bytes: 1,
        sha256: None,
        reason: None,
        verified: None,
    };
    let packed = Packed {
        archive: "m1_2026.11.22.tgz".into(),
        bytes: 1,
        sha256: Digest::of(b""),
        sets: 1,
        etcd: Vec::new(),
        missing: vec![],
        encrypted: false,
    };
    let done =
        |stage| Step::Ended { stage, attempt: 1, outcome: Outcome::Done, reason: None, duration_ms: 1 };
    let mut lines: Vec<_> = Stage::ALL
        .into_iter()
        .filter(|stage| *stage != Stage::ShipArchive)
        .map(|stage| ("2026-11-22T23:30:00Z", done(stage)))
        .collect();
    lines.push(("2026-11-22T23:00:00Z", Step::Packed(packed)));
    lines.push(("2026-11-22T23:40:00Z", Step::Set(late)));
    let record = record_of(lines);
    let mut world = World::at("2026-11-23T05:00:00Z", all_roles());
    world.agenda = Agenda::new(Arc::new(all_roles()), &[], vec![record]);
    world.run_until("2026-11-23T06:00:00Z");
    assert!(world.starts_of(Stage::PackArchive).is_empty(), "{:?}", world.starts());
    assert_eq!(world.starts_of(Stage::ShipArchive).len(), 1, "the packed archive still ships");
}

#[test]
fn a_reload_that_takes_a_role_away_leaves_tonights_stages() {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.run_until("2026-11-22T21:05:00Z");
    let clock = world.clock();
    let actions = world.agenda.step(clock, Event::Reloaded(Arc::new(settings(&[Role::Node]))));
    world.take(actions);
    world.run_until("2026-11-23T04:00:00Z");
    assert_eq!(world.starts().len(), Stage::ALL.len(), "roles change from the next night on");
}

#[test]
fn a_reload_that_moves_the_nights_opening_leaves_tonights_window() {
    let mut later = all_roles();
    later.window.opens = time(23, 0, 0, 0);
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.run_until("2026-11-22T21:05:00Z");
    let clock = world.clock();
    let actions = world.agenda.step(clock, Event::Reloaded(Arc::new(later)));
    world.take(actions);
    world.run_until("2026-11-23T04:00:00Z");
    assert_eq!(world.starts_of(Stage::CollectNode), [("22 22:10".to_owned(), StartReason::Due)]);
}

#[test]
fn a_manual_request_after_the_closing_is_refused_while_an_archive_still_ships() {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.run_until("2026-11-22T22:54:00Z");
    world.takes = SignedDuration::from_hours(12);
    world.run_until("2026-11-23T04:00:00Z");
    let clock = world.clock();
    let ask = ManualRequest::Stages { stages: vec![Stage::CollectNode], night: None, again: false };
    assert_eq!(world.agenda.request(clock, ask), Err(Refusal::Closed("2026-11-22".parse().unwrap())));
}

#[test]
fn a_set_pulled_manually_after_packing_is_packed_in_a_second_archive() {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.run_until("2026-11-23T00:00:00Z");
    world.outcomes.insert(Stage::PullNodes, (Outcome::Done, false, true));
    let clock = world.clock();
    let ask = ManualRequest::Stages { stages: vec![Stage::PullNodes], night: None, again: false };
    let actions = world.agenda.request(clock, ask).unwrap();
    world.take(actions);
    world.run_until("2026-11-23T00:05:00Z");
    let packs = |world: &World| -> Vec<_> {
        world.starts_of(Stage::PackArchive).into_iter().map(|(_, why)| why).collect()
    };
    assert_eq!(packs(&world), [StartReason::Due, StartReason::Repack]);
    // Those that arrive soon after it are packed together.
    for _ in 0..3 {
        let actions = world.agenda.step(world.clock(), Event::LateSet);
        world.take(actions);
        world.run_until("2026-11-23T00:14:00Z");
    }
    assert_eq!(packs(&world).len(), 2);
    world.run_until("2026-11-23T02:00:00Z");
    assert_eq!(packs(&world).len(), 3);
}

#[test]
fn sets_pulled_before_packing_need_no_second_archive() {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    for stage in [Stage::PullEtcd, Stage::PullNodes, Stage::MirrorMasters] {
        world.outcomes.insert(stage, (Outcome::Done, false, true));
    }
    world.run_until("2026-11-23T04:00:00Z");
    assert_eq!(world.starts_of(Stage::PackArchive).len(), 1);
}

#[test]
fn a_closed_night_stays_closed_after_an_extra_night() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-23T03:10:00Z");
    // A time within the closed night, but after the last line of its record.
    world.now = "2026-11-23T02:30:00Z".parse().unwrap();
    let extra: Night = "2026-11-22.1".parse().unwrap();
    world.ask(run_night(Some(extra))).unwrap();
    world.run_until("2026-11-23T02:50:00Z");
    let opened = world.count(|action| matches!(action, Action::Open(plan) if !plan.night.is_extra()));
    assert_eq!(opened, 1);
}

/// Runs the night until shipping has started, which then takes twelve hours.
fn night_with_a_slow_remote() -> World {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.run_until("2026-11-22T22:54:30Z");
    world.takes = SignedDuration::from_hours(12);
    world.run_until("2026-11-22T22:56:00Z");
    world.takes = SignedDuration::from_secs(60);
    world
}

#[test]
fn a_slow_remote_does_not_hold_back_the_drill_and_the_prune() {
    let mut world = night_with_a_slow_remote();
    world.run_until("2026-11-23T03:00:00Z");
    assert_eq!(world.starts_of(Stage::ShipArchive).len(), 1);
    for stage in [Stage::Drill, Stage::Prune] {
        let starts = world.starts_of(stage);
        assert_eq!(starts.len(), 1, "{stage}: {starts:?}");
        assert!(starts[0].0.starts_with("23 00:"), "a quarter of an hour after shipping began: {starts:?}");
    }
    assert_eq!(world.count(|action| matches!(action, Action::Miss { .. })), 0);
}

#[test]
fn a_set_that_arrives_beside_the_night_is_packed_in_a_second_archive() {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.run_until("2026-11-23T00:00:00Z");
    let actions = world.agenda.step(world.clock(), Event::LateSet);
    world.take(actions);
    world.run_until("2026-11-23T02:00:00Z");
    let packs: Vec<_> = world.starts_of(Stage::PackArchive).into_iter().map(|(_, why)| why).collect();
    assert_eq!(packs, [StartReason::Due, StartReason::Repack]);
}
