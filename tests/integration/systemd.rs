//! What systemd is told.

use std::time::Duration;

use kit::daemon::Start;
use kit::lab::Role::{Master, Node};
use kit::lab::cmd::poll;
use kit::proxy::Way;
use kit::site::Plan;

use crate::support::{SOON, ends_with, night_of};

#[test]
fn ready_is_said_when_the_schedule_stands_and_stopping_when_it_ends() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    // The night was open and recorded before the word was given, and the socket answers.
    let (_, status) = site.status("n1").unwrap();
    assert_eq!(status["night"]["open"], true);
    assert!(status["daemon"].is_string());
    site.settle("n1").unwrap();

    let mut daemon = site.host_mut("n1").daemon.take().unwrap();
    assert!(!daemon.notices().contains(&"STOPPING=1".to_owned()));
    assert_eq!(daemon.terminate().unwrap(), 0);
    let notices = daemon.notices();
    let position = |wanted: &str| notices.iter().position(|notice| notice == wanted).unwrap();
    assert!(position("READY=1") < position("STOPPING=1"), "{notices:?}");
    assert!(
        !notices.iter().any(|notice| notice.starts_with("WATCHDOG")),
        "there was no watchdog: {notices:?}"
    );
    ends_with(site.run("n1", &["reload"]).unwrap(), 75);
}

#[test]
fn the_status_line_counts_stages_and_names_what_runs_and_what_comes_next() {
    let plan: &[(&str, &[_])] = &[("m1", &[Master]), ("n1", &[Node])];
    let mut site = Plan::new(plan).proxied("n1").build().unwrap();
    site.start("n1").unwrap();
    site.settle("n1").unwrap();
    site.host("n1").proxy.as_ref().unwrap().hold_after(Way::Down, 0);
    site.start("m1").unwrap();

    let night = night_of(&site, "m1");
    let begins = format!("STATUS=night {night}: 2 of 8 stages done, pull-nodes 0/1, next mirror-masters ");
    let daemon = site.host("m1").daemon();
    daemon.wait_notice(SOON, |notice| notice.starts_with(&begins)).unwrap();
    site.host("n1").proxy.as_ref().unwrap().release();
    let ends = format!("STATUS=night {night}: 8 of 8 stages done");
    daemon.wait_notice(SOON, |notice| notice.starts_with(&ends)).unwrap();
    assert!(daemon.status_line().unwrap().starts_with(&format!("night {night}: 8 of 8")));
}

#[test]
fn the_watchdog_is_fed_twice_as_often_as_it_asks() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    let watchdog = Some(Duration::from_secs(2));
    site.start_with("n1", &Start { watchdog, ..Start::default() }).unwrap();
    let daemon = site.host("n1").daemon();
    let fed = || daemon.notices().iter().filter(|notice| *notice == "WATCHDOG=1").count();
    let begun = fed();
    // Over two of its periods it would have to be fed four times at the very least.
    poll("the watchdog to be fed", Duration::from_secs(4), || {
        if fed() >= begun + 4 { Ok(()) } else { Err(format!("{} times", fed() - begun)) }
    })
    .unwrap();
}
