//! Notifications while something else is wrong: the config, a file of the queue, one of several recipients.

use std::fs;

use kit::lab::cmd::poll;

use super::receivers::{Answer, Receiver};
use super::{site_with, waits, webhook};
use crate::support::{SOON, ends_with, good};

#[test]
fn a_mistake_elsewhere_in_the_config_stops_no_notice_and_no_message_quotes_a_url() {
    let posted = Receiver::start(|_| Answer::Status(200));
    let (good_one, bad) = (webhook("good", &posted.url()), webhook("bad", "https://127.0.0.1:1/SECRETTOKEN"));
    let (mut site, unit) = site_with(&format!("{good_one}{bad}"));
    site.between_nights("m1").unwrap();
    site.start("m1").unwrap();
    site.drop_in("m1", "50-notify.toml", &format!("{good_one}{}", bad.replace("https:", "https"))).unwrap();
    site.drop_in("m1", "60-mistake.toml", "[stage.prunee]\n").unwrap();
    let refused = ends_with(site.run("m1", &["reload"]).unwrap(), 78);
    assert!(refused.stderr.contains("each hook reads its own table"), "{refused:?}");
    good(site.run("m1", &["run", "night", "--wait"]).unwrap());

    poll("the post", SOON, || if posted.requests().is_empty() { Err(site.log("m1")) } else { Ok(()) })
        .unwrap();
    let reason = poll("the refusal", SOON, || {
        let log = site.log("m1");
        let line = log.lines().find(|line| line.contains("target bad") && line.contains("is not sent yet"));
        line.map(ToOwned::to_owned).ok_or(log.clone())
    })
    .unwrap();
    assert!(reason.contains("50-notify.toml:9: `url` does not begin with https://"), "{reason}");
    assert!(reason.ends_with("run `nightshift check`") && !reason.contains("-->"), "{reason}");
    let queued = fs::read_dir(site.host("m1").state().join("notify/bad")).unwrap();
    let queued: String = queued.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    assert!(queued.contains("does not begin with"), "{queued}");
    let listed = site.run("m1", &["notify"]).unwrap();
    for shown in [site.log("m1"), unit.journal(), queued, refused.stderr, listed.stderr, listed.stdout] {
        assert!(!shown.contains("SECRETTOKEN"), "{shown}");
    }
}

#[test]
fn a_file_of_the_queue_that_cannot_be_read_stops_no_notice_and_status_says_so() {
    let posted = Receiver::start(|_| Answer::Status(200));
    let down = Receiver::reserve();
    let (mut site, _unit) = site_with(&(webhook("x", &posted.url()) + &webhook("y", &down.url())));
    let notices = site.host("m1").state().join("notify");
    for queue in ["x", "y"] {
        fs::create_dir_all(notices.join(queue)).unwrap();
    }
    fs::write(notices.join("x/0000-000-zero.json"), "").unwrap();
    fs::write(notices.join("x/state.json"), "x").unwrap();
    let listed = ends_with(site.run("m1", &["notify"]).unwrap(), 1);
    assert!(listed.stdout.contains("x: cannot read ") && listed.stdout.contains("y: last"), "{listed:?}");

    fs::write(notices.join("known.json"), "y\n").unwrap();
    site.night().unwrap();
    poll("the post", SOON, || if posted.requests().is_empty() { Err(site.log("m1")) } else { Ok(()) })
        .unwrap();
    let names = ["known.json", "x/0000-000-zero.json", "x/state.json"];
    let (code, status) = site.status("m1").unwrap();
    let warnings = status["warnings"].to_string();
    assert!(code == 3 && warnings.contains("notice-unreadable"), "{warnings}");
    for name in names {
        let aside = notices.join(format!("{name}.unreadable"));
        assert!(warnings.contains(&format!("{} could not be read", aside.display())), "{name}: {warnings}");
        assert!(site.log("m1").contains(&format!("it was moved to {}", aside.display())), "{name}");
        fs::remove_file(aside).unwrap();
    }
    assert!(waits(&site).contains("y: last notice sent: never; waiting: "), "{}", waits(&site));
    let (_, status) = site.status("m1").unwrap();
    assert!(!status["warnings"].to_string().contains("notice-unreadable"), "{status:#}");
}
