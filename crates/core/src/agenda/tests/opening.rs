//! Which nights open, which requests may open one, and what is reported of a night that does not open.

use super::*;

fn stages(stages: &[Stage], night: Option<&str>) -> ManualRequest {
    let night = night.map(|night| night.parse().unwrap());
    ManualRequest::Stages { stages: stages.to_vec(), night, again: false }
}

impl World {
    fn opened(&self) -> Vec<String> {
        let nights = self.log.iter().filter_map(|(_, action)| match action {
            Action::Open(plan) => Some(plan.night.to_string()),
            _ => None,
        });
        nights.collect()
    }

    fn held_reason(&self) -> String {
        self.agenda.held(self.clock()).map(|held| held.reason).unwrap_or_default()
    }
}

#[test]
fn a_request_may_open_only_an_extra_night_of_today_or_yesterday_without_a_record() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.run_until("2026-11-23T12:00:00Z");
    world.ask(stages(&[Stage::CollectMaster], Some("2026-11-23.1"))).unwrap();
    world.run_until("2026-11-23T12:10:00Z");
    for (night, refused) in [
        ("2099-01-01", "is not of today (2026-11-23) or yesterday"),
        ("2099-01-01.1", "an extra night is named like 2026-11-23.1"),
        ("2026-11-24.1", "is not of today"),
        ("2026-11-21.1", "is not of today"),
        ("2026-11-23", "is a night of the schedule"),
        ("2026-11-22", "is recorded already"),
        ("2026-11-23.1", "is recorded already"),
    ] {
        for request in [
            stages(&[Stage::CollectMaster], Some(night)),
            stages(&[Stage::ShipArchive], Some(night)),
            run_night(Some(night.parse().unwrap())),
        ] {
            let refusal = world.ask(request).unwrap_err();
            assert!(refusal.to_string().contains(refused), "{night}: {refusal}");
            assert!(!refusal.is_temporary(), "{refusal:?}");
        }
    }
    for night in ["2026-11-22.1", "2026-11-23.7"] {
        world.ask(stages(&[Stage::CollectMaster], Some(night))).unwrap();
        let now = world.now + SignedDuration::from_mins(10);
        world.run_until(&now.to_string());
    }
    world.run_until("2026-11-23T21:00:00Z");
    assert_eq!(world.opened(), ["2026-11-22", "2026-11-23.1", "2026-11-22.1", "2026-11-23.7", "2026-11-23"]);
}

#[test]
fn a_night_by_hand_is_refused_where_no_name_is_left_and_names_no_recorded_night() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.ask(stages(&[Stage::CollectMaster], Some("2026-11-22.65535"))).unwrap();
    world.run_until("2026-11-22T12:10:00Z");
    let refused = world.ask(run_night(None)).unwrap_err();
    assert!(refused.to_string().contains("--night 2026-11-22.2"), "{refused}");
    world.ask(stages(&[Stage::CollectMaster], Some("2026-11-22.2"))).unwrap();
    assert_eq!(world.opened(), ["2026-11-22.65535", "2026-11-22.2"]);
}

#[test]
fn a_night_by_hand_takes_the_named_extra_night_or_the_next_free_one() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    let named = Some("2026-11-22.4".parse().unwrap());
    world.ask(run_night(named)).unwrap();
    let other = Some("2026-11-22.5".parse().unwrap());
    let refused = world.ask(run_night(other));
    assert!(matches!(refused, Err(Refusal::OtherNightOpen(open)) if Some(open) == named), "{refused:?}");
    world.run_until("2026-11-22T13:00:00Z");
    world.ask(run_night(None)).unwrap();
    world.run_until("2026-11-22T14:00:00Z");
    assert_eq!(world.opened(), ["2026-11-22.4", "2026-11-22.5"]);
}

#[test]
fn what_is_in_the_outbox_can_be_shipped_between_two_nights() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world.ask(stages(&[Stage::ShipArchive], None)).unwrap();
    world.run_until("2026-11-22T13:00:00Z");
    assert_eq!(world.opened(), ["2026-11-22.1"]);
    assert_eq!(world.starts_of(Stage::ShipArchive).len(), 1);
    assert_eq!(world.ask(stages(&[Stage::PackArchive], None)), Err(Refusal::NoNight));
}

#[test]
fn a_night_of_the_schedule_opens_at_its_time_although_an_extra_night_is_open() {
    let mut world = World::at("2026-11-22T20:50:00Z", all_roles());
    world.takes = SignedDuration::from_hours(9);
    world.ask(stages(&[Stage::PullEtcd, Stage::PackArchive], Some("2026-11-22.1"))).unwrap();
    world.ask(stages(&[Stage::PullNodes], Some("2026-11-22.1"))).unwrap();
    world.run_until("2026-11-22T21:00:30Z");
    assert_eq!(world.opened(), ["2026-11-22.1", "2026-11-22"]);
    let (closed, early) = (world.log.iter())
        .find_map(|(at, action)| match action {
            Action::Close { early } => Some((*at, early.clone())),
            _ => None,
        })
        .unwrap();
    assert_eq!(closed.to_string(), "2026-11-22T21:00:00Z");
    assert_eq!(early.unwrap(), "night 2026-11-22 of the schedule opens");
    assert_eq!(world.starts_of(Stage::SnapshotEtcd).len(), 1, "the night has begun");
}

#[test]
fn an_extra_night_can_be_closed_and_a_night_of_the_schedule_cannot() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    assert_eq!(world.ask(ManualRequest::Close), Err(Refusal::NoExtraNight));
    world.takes = SignedDuration::from_hours(9);
    world.ask(stages(&[Stage::PullEtcd], Some("2026-11-22.1"))).unwrap();
    world.ask(ManualRequest::Close).unwrap();
    assert_eq!(world.count(|action| matches!(action, Action::Stop { stage: Stage::PullEtcd })), 1);
    assert!(world.agenda.night().is_none());
    world.takes = SignedDuration::from_mins(1);
    world.run_until("2026-11-22T21:30:00Z");
    assert_eq!(world.ask(ManualRequest::Close), Err(Refusal::Scheduled("2026-11-22".parse().unwrap())));
}

#[test]
fn until_its_stages_have_stopped_the_extra_night_takes_no_request_and_is_why_the_night_waits() {
    let mut agenda = Agenda::new(Arc::new(all_roles()), &[], Vec::new());
    let clock = |now: &str| Clock {
        now: now.parse().unwrap(),
        synchronised: true,
        unsynchronised_for: Duration::ZERO,
    };
    agenda.request(clock("2026-11-22T20:00:00Z"), stages(&[Stage::PullEtcd], Some("2026-11-22.1"))).unwrap();
    let actions = agenda.step(clock("2026-11-22T21:00:00Z"), Event::Tick);
    assert!(actions.contains(&Action::Stop { stage: Stage::PullEtcd }), "{actions:?}");
    let held = agenda.held(clock("2026-11-22T21:00:01Z")).unwrap();
    assert_eq!(held.reason, "night 2026-11-22.1 has to close first");
    assert!(actions.contains(&Action::Hold(held)), "{actions:?}");
    let refused = agenda.request(clock("2026-11-22T21:00:01Z"), stages(&[Stage::PullNodes], None));
    assert_eq!(refused, Err(Refusal::Closing("2026-11-22.1".parse().unwrap())));
    let stopped =
        StageResult { stage: Stage::PullEtcd, outcome: Outcome::Interrupted, retry: false, gained: false };
    let actions = agenda.step(clock("2026-11-22T21:00:02Z"), Event::StageEnded(stopped));
    assert!(matches!(&actions[..2], [Action::Close { early: Some(_) }, Action::Open(_)]), "{actions:?}");
    assert_eq!(agenda.held(clock("2026-11-22T21:00:02Z")), None);
}

#[test]
fn a_record_from_the_future_is_reported_and_the_night_opens_beside_it() {
    for open in [false, true] {
        let mut record = record_of(vec![]);
        record.night = "2036-12-27".parse().unwrap();
        for time in [&mut record.opened, &mut record.closes, &mut record.newest] {
            *time = "2036-12-27T21:00:00Z".parse().unwrap();
        }
        if !open {
            let (verdict, reasons) = (crate::outcome::Verdict::Complete, Vec::new());
            record.closed = Some(crate::record::Closed { at: record.newest, verdict, reasons });
        }
        let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
        world.agenda = Agenda::new(Arc::new(all_roles()), &[record.night], vec![record]);
        world.run_until("2026-11-23T04:00:00Z");
        assert_eq!(world.opened(), ["2026-11-22"]);
        let reports = world.count(|action| matches!(action, Action::FutureRecord(_)));
        assert_eq!(reports, 1, "it is reported once");
        assert_eq!(world.count(|action| matches!(action, Action::Resume(_))), 0);
    }
}

#[test]
fn a_night_that_opened_while_the_clock_was_ten_years_ahead_does_not_stop_later_nights() {
    let mut world = World::at("2036-12-27T20:30:00Z", all_roles());
    world.run_until("2036-12-27T21:15:00Z");
    world.now = "2026-11-22T20:30:00Z".parse().unwrap();
    world.run_until("2026-11-23T20:00:00Z");
    assert_eq!(world.opened(), ["2036-12-27", "2026-11-22"]);
    assert!(world.log.iter().any(|(_, action)| {
        matches!(action, Action::Close { early: Some(early) } if early.contains("the clock went back"))
    }));
}

#[test]
fn a_clock_that_stays_unsynchronised_after_days_without_the_daemon_opens_the_night_after_the_grace_period() {
    let mut record = record_of(vec![]);
    let (verdict, reasons) = (crate::outcome::Verdict::Complete, Vec::new());
    record.closed = Some(crate::record::Closed { at: record.newest, verdict, reasons });
    let mut agenda = Agenda::new(Arc::new(all_roles()), &[], vec![record]);
    let clock = |minutes: u64| Clock {
        now: "2026-11-26T21:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(minutes * 60),
        synchronised: false,
        unsynchronised_for: Duration::from_secs(minutes * 60),
    };
    agenda.step(clock(0), Event::Tick);
    let held = agenda.held(clock(1)).unwrap();
    assert!(held.reason.contains("more than 36 h past the newest record"), "{held:?}");
    assert!(held.reason.contains("trust-clock"), "{held:?}");
    assert_eq!(held.opens, Some(clock(15).now));
    let actions = agenda.step(clock(15), Event::Tick);
    assert!(actions.iter().any(|action| matches!(action, Action::Open(_))), "{actions:?}");
}

#[test]
fn a_night_that_never_opened_is_reported_until_another_one_opens() {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.synchronised = false;
    // The heartbeat ticks each minute.
    world.run_until("2026-11-23T03:00:00Z");
    world.run_until("2026-11-23T03:01:00Z");
    assert!(world.opened().is_empty());
    let lost: Vec<_> = world.log.iter().filter(|(_, action)| matches!(action, Action::Lost(_))).collect();
    assert!(matches!(lost[..], [(at, _)] if at.to_string() == "2026-11-23T03:00:00Z"), "{lost:?}");
    assert!(world.held_reason().contains("not synchronised"), "{}", world.held_reason());
    world.synchronised = true;
    world.run_until("2026-11-23T21:01:00Z");
    assert_eq!(world.agenda.held(world.clock()), None);
}

#[test]
fn a_set_is_made_again_only_on_request_and_also_in_the_retry_of_that_request() {
    let again = |world: &World| -> Vec<bool> {
        let starts = world.log.iter().filter_map(|(_, action)| match action {
            Action::Start(start) if start.stage == Stage::SnapshotEtcd => Some(start.again),
            _ => None,
        });
        starts.collect()
    };
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.run_until("2026-11-22T21:20:00Z");
    let stages = vec![Stage::SnapshotEtcd];
    world.ask(ManualRequest::Stages { stages: stages.clone(), night: None, again: false }).unwrap();
    world.run_until("2026-11-22T21:25:00Z");
    world.outcomes.insert(Stage::SnapshotEtcd, (Outcome::Failed, true, false));
    world.ask(ManualRequest::Stages { stages, night: None, again: true }).unwrap();
    world.run_until("2026-11-22T21:27:00Z");
    world.outcomes.remove(&Stage::SnapshotEtcd);
    world.run_until("2026-11-22T21:40:00Z");
    let starts = again(&world);
    assert_eq!(starts[..3], [false, false, true]);
    assert!(starts.len() > 3 && starts[3..].iter().all(|again| *again), "{starts:?}");
    world
        .ask(ManualRequest::Night {
            night: None,
            again: true,
            stages: Vec::new(),
            restored: None,
            backup: None,
        })
        .unwrap();
    assert!(started_again(&world, Stage::CollectNode));
}

fn started_again(world: &World, wanted: Stage) -> bool {
    world
        .log
        .iter()
        .rev()
        .any(|(_, action)| matches!(action, Action::Start(start) if start.stage == wanted && start.again))
}

#[test]
fn a_waiting_stage_names_the_stages_that_it_needs() {
    let mut world = World::at("2026-11-22T20:30:00Z", all_roles());
    world.takes = SignedDuration::from_hours(2);
    world.run_until("2026-11-22T22:46:00Z");
    assert_eq!(world.agenda.waits_for(Stage::MirrorMasters), [Stage::PullEtcd, Stage::PullNodes]);
}

#[test]
fn after_a_restore_the_night_of_the_schedule_closes_and_a_whole_extra_night_follows() {
    let mut world = World::at("2026-11-22T21:00:30Z", all_roles());
    world.run_until("2026-11-22T22:30:00Z");
    let made_before = world.starts().len();
    assert!(made_before > 0);
    world.ask(ManualRequest::Restored).unwrap();
    world.run_until("2026-11-22T22:31:00Z");
    let whole = ManualRequest::Night {
        night: None,
        again: false,
        stages: Stage::ALL.to_vec(),
        restored: None,
        backup: None,
    };
    world.ask(whole.clone()).unwrap();
    world.ask(ManualRequest::Restored).unwrap();
    world.ask(whole).unwrap();
    assert_eq!(world.opened(), ["2026-11-22", "2026-11-22.1"], "the extra night is not closed");
    world.run_until("2026-11-22T23:30:00Z");
    let stages: Vec<_> = world.starts().into_iter().skip(made_before).map(|(_, stage, _)| stage).collect();
    assert_eq!(stages, Stage::ALL);
    world.run_until("2026-11-23T12:00:00Z");
    assert_eq!(world.opened().len(), 2, "the night of the schedule does not open again");
}

#[test]
fn the_pulls_of_a_whole_extra_night_wait_a_quarter_of_an_hour_for_sets() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    world
        .ask(ManualRequest::Night {
            night: None,
            again: false,
            stages: Stage::ALL.to_vec(),
            restored: Some("2026-11-21-e488bb62".into()),
            backup: None,
        })
        .unwrap();
    let plan = world.agenda.night().unwrap();
    for stage in Stage::ALL {
        let planned = plan.stage(stage).unwrap();
        let minutes = planned.until.duration_since(planned.at).as_mins();
        assert_eq!(minutes == 15, stage.pulls().is_some(), "{stage}: {minutes}");
    }
}

#[test]
fn a_night_that_is_moved_to_later_after_it_was_recorded_is_reported_as_skipped_and_never_promised() {
    let mut world = World::at("2026-11-22T12:00:00Z", all_roles());
    let at = |hour| {
        let mut settings = all_roles();
        settings.window.opens = time(hour, 0, 0, 0);
        settings.window.closes = time(hour + 2, 0, 0, 0);
        for stage in Stage::ALL {
            settings.stages.get_mut(stage).at = format!("30 {hour} * * *").parse().unwrap();
            settings.stages.get_mut(stage).until = None;
        }
        Event::Reloaded(Arc::new(settings))
    };
    let actions = world.agenda.step(world.clock(), at(14));
    world.take(actions);
    world.run_until("2026-11-22T16:00:00Z");
    assert_eq!(world.opened(), ["2026-11-22"]);
    assert_eq!(world.agenda.skipped(world.now), None);

    let actions = world.agenda.step(world.clock(), at(20));
    world.take(actions);
    let next: Timestamp = "2026-11-23T19:00:00Z".parse().unwrap();
    assert_eq!(world.agenda.next_opening(world.now), next);
    world.run_until("2026-11-23T19:30:00Z");
    let skipped: Vec<_> = world
        .log
        .iter()
        .filter_map(|(at, action)| match action {
            Action::Skip(skipped) => Some((at.to_string(), *skipped)),
            _ => None,
        })
        .collect();
    let night = "2026-11-22".parse().unwrap();
    let expected = SkippedNight { night, at: "2026-11-22T19:00:00Z".parse().unwrap(), next };
    assert_eq!(skipped, [("2026-11-22T16:00:00Z".to_owned(), expected)]);
    assert_eq!(world.opened(), ["2026-11-22", "2026-11-23"]);
    assert!(expected.text(&TimeZone::UTC).contains("nightshift run night"));
}
