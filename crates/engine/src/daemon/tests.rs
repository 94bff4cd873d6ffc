#![allow(clippy::unwrap_used)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::agenda::{Event as AgendaEvent, ManualRequest};
use nightshift_core::outcome::Outcome;
use nightshift_core::record::Record;
use nightshift_core::role::Role;
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_store::records::Records;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::actions::{Daemon, Task, TaskOutput};
use super::config::{LoadedConfig, difference};
use crate::clock::WallClock;
use crate::control::{ControlRequest, ControlResponse, Pending};
use crate::supervisor::TaskResult;
use crate::testing;

/// A node's daemon in a scratch directory, with a night due.
async fn daemon(dir: &Path) -> Daemon {
    let make = {
        let dir = dir.to_owned();
        move || -> Settings { testing::settings(&dir, vec![testing::host("m1", Role::Node)]) }
    };
    let settings = Arc::new(make());
    let (requests, _incoming) = mpsc::channel(1);
    let load = move || Ok(LoadedConfig { settings: make(), warnings: Vec::new() });
    Daemon::build(Arc::new(load), settings, requests).await.unwrap()
}

fn newest(dir: &Path) -> Record {
    let now = Timestamp::now();
    Records::new(dir.join("state/records")).past(now).unwrap().newest(now).unwrap().clone()
}

/// Runs the daemon's loop until no stage runs.
async fn settle(daemon: &mut Daemon) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while daemon.is_working() {
        let ended = tokio::time::timeout_at(deadline, daemon.supervisor.next()).await.unwrap();
        daemon.ended(ended).await;
        tokio::time::sleep(daemon.until_wake().min(Duration::from_millis(20))).await;
        daemon.turn(AgendaEvent::Tick).await;
    }
}

#[tokio::test]
async fn the_stages_of_a_night_whose_record_cannot_be_written_fail_and_can_be_requested_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path()).await;
    // Like a full disk: no file can be created in the directory of the records.
    std::fs::create_dir_all(dir.path().join("state")).unwrap();
    std::fs::write(dir.path().join("state/records"), b"").unwrap();
    daemon.turn(AgendaEvent::Tick).await;
    assert!(daemon.agenda.night().is_some());
    settle(&mut daemon).await;
    assert!(daemon.agenda.has_ended(Stage::CollectNode), "a stage that cannot start must end");
    let cause = daemon.nights.unwritten().unwrap().to_owned();
    assert!(cause.contains("state/records") && cause.contains("; "), "{cause}");

    // Once there is space, the record is written from the opening on.
    std::fs::remove_file(dir.path().join("state/records")).unwrap();
    let clock = daemon.clock.read();
    let ask = ManualRequest::Stages { stages: vec![Stage::CollectNode], night: None, again: false };
    let actions = daemon.agenda.request(clock, ask).unwrap();
    daemon.act(actions, clock).await;
    settle(&mut daemon).await;
    let record = newest(dir.path());
    assert!(record.stages[&Stage::CollectNode].outcome.is_some());
    assert_eq!(daemon.nights.unwritten(), None);
}

#[tokio::test]
async fn the_steps_of_a_night_are_recorded_from_its_opening_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path()).await;
    daemon.begin().await;
    settle(&mut daemon).await;
    let record = newest(dir.path());
    assert_eq!(record.planned, [Stage::CollectNode, Stage::Prune]);
    assert_eq!(record.stages[&Stage::CollectNode].outcome, Some(Outcome::Done), "{record:?}");
    assert_eq!(record.sets.len(), 1);
}

#[tokio::test]
async fn a_set_that_a_crash_kept_out_of_the_record_is_recorded_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = daemon(dir.path()).await;
    first.begin().await;
    settle(&mut first).await;
    drop(first);
    // The crash happened after the set's rename and before the record's line.
    let records = dir.path().join("state/records");
    let open = std::fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&open).unwrap();
    let kept: Vec<&str> =
        text.lines().filter(|line| line.contains("\"opened\"") || line.contains("\"started\"")).collect();
    std::fs::write(&open, format!("{}\n", kept[..2].join("\n"))).unwrap();
    let mut second = daemon(dir.path()).await;
    assert!(newest(dir.path()).sets.is_empty());
    second.begin().await;
    settle(&mut second).await;
    let record = newest(dir.path());
    assert_eq!(record.sets.len(), 1);
    assert!(record.sets[0].fate.is_stored());
}

#[tokio::test]
async fn a_stage_that_panics_is_a_failed_stage_and_the_night_continues() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path()).await;
    daemon.begin().await;
    settle(&mut daemon).await;
    let clock = daemon.clock.read();
    let ask = ManualRequest::Stages { stages: vec![Stage::CollectNode], night: None, again: false };
    let _instead = daemon.agenda.request(clock, ask).unwrap();
    daemon
        .supervisor
        .start(Task::Stage(Stage::CollectNode), CancellationToken::new(), async { panic!("a bug") });
    settle(&mut daemon).await;
    let record = newest(dir.path());
    let state = &record.stages[&Stage::CollectNode];
    assert_eq!(state.outcome, Some(Outcome::Failed));
    assert!(state.reason.as_ref().unwrap().contains("a bug"), "{state:?}");
}

#[tokio::test]
async fn a_client_that_waits_for_a_stage_gets_its_result() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path()).await;
    daemon.begin().await;
    settle(&mut daemon).await;
    let (reply, response) = tokio::sync::oneshot::channel();
    let request =
        ControlRequest::Run { stages: vec![Stage::CollectNode], night: None, wait: true, again: false };
    daemon.respond(Pending { request, who: "test".into(), reply }).await;
    settle(&mut daemon).await;
    let response = response.await.unwrap();
    assert!(matches!(response, ControlResponse::Done { .. }), "{response:?}");
}

#[tokio::test]
async fn no_night_is_kept_or_released_while_the_prune_at_the_opening_removes_sets() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path()).await;
    daemon.supervisor.start(Task::OpeningPrune, CancellationToken::new(), std::future::pending());
    let night = "2026-11-22".parse().unwrap();
    for request in [ControlRequest::Keep { night, until: None }, ControlRequest::Release { night }] {
        let (reply, response) = tokio::sync::oneshot::channel();
        daemon.respond(Pending { request, who: "alice".into(), reply }).await;
        let response = response.await.unwrap();
        assert!(matches!(response, ControlResponse::Busy { .. }), "{response:?}");
    }
}

#[tokio::test]
async fn a_night_opens_as_soon_as_a_query_finds_the_clock_synchronised() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path()).await;
    daemon.clock = WallClock::new(false);
    daemon.clock.store(false);
    daemon.turn(AgendaEvent::Tick).await;
    assert!(daemon.agenda.night().is_none(), "the clock is not synchronised");
    let result = Ok(TaskOutput::Synchronised(true));
    daemon.ended(TaskResult { name: Task::ClockQuery, result }).await;
    assert!(daemon.agenda.night().is_some());
    settle(&mut daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_a_file_that_does_not_respond_does_not_stop_the_daemons_loop() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path()).await;
    daemon.begin().await;
    settle(&mut daemon).await;
    // Like a file on a mount that does not respond: nothing ever opens the other end.
    let host_key = &daemon.agenda.settings().ssh.host_key;
    let _other_key = std::fs::remove_file(host_key);
    let made = std::process::Command::new("mkfifo").arg(host_key).status().unwrap();
    assert!(made.success());
    let blocked = host_key.clone();
    let soon = Duration::from_secs(20);
    let mut responses = Vec::new();
    for request in [ControlRequest::Readable, ControlRequest::Status { facts: false }] {
        let (reply, response) = tokio::sync::oneshot::channel();
        let pending = Pending { request, who: "test".into(), reply };
        tokio::time::timeout(soon, daemon.respond(pending)).await.unwrap();
        responses.push(response);
    }
    let status = responses.pop().unwrap();
    assert!(matches!(tokio::time::timeout(soon, status).await, Ok(Ok(ControlResponse::Status(_)))));
    assert!(responses[0].try_recv().is_err(), "the file still does not respond");
    // Ends the blocked thread, for which the runtime of the test would wait.
    let _opened = std::fs::File::options().write(true).open(blocked).unwrap();
    let readable = tokio::time::timeout(soon, responses.remove(0)).await;
    assert!(matches!(readable, Ok(Ok(ControlResponse::Readable { .. }))));
}

#[test]
fn a_configuration_on_disk_that_is_not_in_force_is_a_warning_and_so_is_a_refused_reload() {
    let dir = tempfile::tempdir().unwrap();
    let in_force = testing::settings(dir.path(), vec![testing::host("m1", Role::Node)]);
    let warning = |refused, on_disk: Result<Settings, String>| {
        let load = move || {
            let settings = on_disk.clone()?;
            Ok(LoadedConfig { settings, warnings: Vec::new() })
        };
        let load: super::Load = Arc::new(load);
        difference(&in_force, refused, &load).map(|reason| (reason.code.as_str(), reason.text))
    };
    assert_eq!(warning(None, Ok(in_force.clone())), None);
    let mut edited = in_force.clone();
    edited.vault.min_free = 7;
    let (code, text) = warning(None, Ok(edited.clone())).unwrap();
    assert!(code == "config-differs" && text.contains("nightshift reload"), "{text}");
    edited.cluster = "other".parse().unwrap();
    assert!(warning(None, Ok(edited)).unwrap().1.contains("systemctl restart nightshift"));
    let diagnostics = "error: unknown key `a`\n --> /etc/x.toml:3:1\n  |\n3 | a = \"secret\"\n";
    let (code, text) = warning(None, Err(diagnostics.into())).unwrap();
    assert!(code == "config-differs" && text.contains("unknown key `a` --> /etc/x.toml:3:1;"), "{text}");
    let (code, text) = warning(Some(diagnostics), Ok(in_force.clone())).unwrap();
    assert!(code == "config-refused" && !text.contains("secret"), "{text}");
}
