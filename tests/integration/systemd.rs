//! The notifications to systemd.

use std::time::Duration;

use kit::daemon::Start;
use kit::lab::Role::{Master, Node};
use kit::lab::cmd::poll;
use kit::lab::el7;
use kit::proxy::Way;
use kit::site::Plan;

use crate::support::{SOON, ends_with, night_of};

#[test]
fn systemd_is_notified_of_ready_once_a_night_is_recorded_and_of_stopping() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    site.start("n1").unwrap();
    // Before READY the night was open and recorded, and the socket was bound.
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
fn the_status_line_counts_the_ended_stages_and_names_the_running_and_the_next_one() {
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
fn the_watchdog_is_notified_at_twice_the_required_rate() {
    let mut site = Plan::new(&[("n1", &[Node])]).build().unwrap();
    let watchdog = Some(Duration::from_secs(2));
    site.start_with("n1", &Start { watchdog, ..Start::default() }).unwrap();
    let daemon = site.host("n1").daemon();
    let notified = || daemon.notices().iter().filter(|notice| *notice == "WATCHDOG=1").count();
    let before = notified();
    // In two of its periods at least four notifications must arrive.
    poll("the watchdog notifications", Duration::from_secs(4), || {
        if notified() >= before + 4 { Ok(()) } else { Err(format!("{} of 4", notified() - before)) }
    })
    .unwrap();
}

#[test]
fn the_units_for_enterprise_linux_7_have_only_what_its_systemd_knows() {
    let staged = tempfile::tempdir().unwrap();
    el7::stage(staged.path()).unwrap();
    let unit = |name: &str| std::fs::read_to_string(staged.path().join("systemd").join(name)).unwrap();
    let daemon = unit("nightshift.service");
    for line in [
        "ExecStart=/usr/bin/nightshift daemon --user nightshift",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_SETUID CAP_SETGID CAP_SETPCAP",
        "ReadOnlyDirectories=/",
        "ReadWriteDirectories=/var/lib/nightshift /run/nightshift",
        "MemoryLimit=1536M",
        "CPUShares=204",
    ] {
        assert!(daemon.lines().any(|own| own == line), "{line}: {daemon}");
    }
    for newer in ["\nUser=", "\nGroup=", "Ambient", "=strict", "shadow", "SystemCallFilter"] {
        assert!(!daemon.contains(newer), "{newer}: {daemon}");
    }
    let drill = unit("nightshift-drill@.service");
    assert!(
        drill.contains("\nUser=nightshift-drill\n") && drill.contains("\nPrivateNetwork=yes\n"),
        "{drill}"
    );
    assert!(!staged.path().join("systemd/nightshift-metrics.socket").exists());

    let unknown = el7::unit("[Service]\nRestartSteps=3\n").unwrap_err();
    assert!(unknown.contains("RestartSteps=3"), "{unknown}");
}
