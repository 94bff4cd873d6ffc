//! Notifications: what arrives at real receivers on loopback, that fail, redirect, stall or are down.

mod faults;
mod receivers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use kit::lab::Role::Master;
use kit::lab::cmd::poll;
use kit::site::{Plan, Site};
use receivers::{Answer, Mail, Receiver, SmtpServer};
use serde_json::Value;

use crate::support::{SOON, ends_with, good};
use crate::units::Unit;

/// Longer than the delay before the first retry.
const RETRIED: Duration = Duration::from_secs(90);

fn site_with(targets: &str) -> (Site, Unit) {
    let site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    let unit = Unit::listen(&site, "m1", "nightshift-notify", "notify.sock", "notify-send");
    site.drop_in("m1", "50-notify.toml", targets).unwrap();
    (site, unit)
}

fn webhook(name: &str, url: &str) -> String {
    format!("[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{url}\"\nevery-night = true\n")
}

fn mail(name: &str, to: &[&str], path: String) -> String {
    format!("[[notify]]\nname = \"{name}\"\nkind = \"mail\"\nfrom = \"ns@site.test\"\nto = {to:?}\n{path}\n")
}

/// A program that keeps each input in a file of its own.
fn keeper(folder: &Path) -> String {
    let program = folder.join("keep");
    let text = format!("#!/bin/sh\nexec cat > {}/$NIGHTSHIFT_ID.json\n", folder.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.display().to_string()
}

fn kept(folder: &Path) -> Vec<Value> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.filter_map(|path| serde_json::from_slice(&fs::read(path).unwrap()).ok()).collect()
}

fn waits(site: &Site) -> String {
    good(site.run("m1", &["notify"]).unwrap()).stdout
}

#[test]
fn a_night_is_pinged_posted_and_piped_once_also_after_a_restart_and_the_metric_has_the_time() {
    let (pinged, posted) =
        (Receiver::start(|_| Answer::Status(200)), Receiver::start(|_| Answer::Status(204)));
    let folder = tempfile::tempdir().unwrap();
    let url_file = folder.path().join("url");
    fs::write(&url_file, format!("{}/a-secret-key\n", pinged.url())).unwrap();
    let targets = format!(
        "[[notify]]\nname = \"hc\"\nkind = \"ping\"\nurl-file = \"{}\"\n{}\
         [[notify]]\nname = \"program\"\nkind = \"command\"\nargv = [\"{}\"]\nevery-night = true\n",
        url_file.display(),
        webhook("hook", &format!("{}/hooks", posted.url())),
        keeper(folder.path()),
    );
    let (mut site, _unit) = site_with(&targets);
    site.night().unwrap();
    poll("the pings", SOON, || if pinged.requests().len() >= 2 { Ok(()) } else { Err(waits(&site)) })
        .unwrap();
    let pings = pinged.requests();
    let rid = pings[0].path.strip_prefix("/a-secret-key/start?rid=").unwrap().to_owned();
    assert_eq!(pings[1].path, format!("/a-secret-key?rid={rid}"), "{pings:#?}");
    assert!(pings[1].body.contains("is complete"), "{pings:#?}");

    poll("the post", SOON, || if posted.requests().is_empty() { Err(waits(&site)) } else { Ok(()) }).unwrap();
    let [post] = &posted.requests()[..] else { panic!("{:#?}", posted.requests()) };
    let body: Value = serde_json::from_str(&post.body).unwrap();
    assert_eq!((&body["event"], &body["verdict"]), (&"night-settled".into(), &"complete".into()), "{body:#}");
    assert_eq!(post.header("idempotency-key"), body["id"].as_str(), "{post:#?}");
    poll("the program", SOON, || if kept(folder.path()).len() == 1 { Ok(()) } else { Err(waits(&site)) })
        .unwrap();
    assert_eq!(kept(folder.path())[0], body, "it is the same notice for every target");

    site.stop_all().unwrap();
    site.start("m1").unwrap();
    let targets = ["hc", "hook", "program"];
    let named = |text: &str, name: &str| {
        text.contains(&format!("nightshift_notify_last_success_timestamp_seconds{{target=\"{name}\"}} "))
    };
    poll("the metric", SOON, || {
        let text = good(site.run("m1", &["metrics"]).unwrap()).stdout;
        if targets.iter().all(|name| named(&text, name)) { Ok(()) } else { Err(text) }
    })
    .unwrap();
    assert_eq!((pinged.requests().len(), posted.requests().len()), (2, 1), "nothing is repeated");
    assert!(!site.log("m1").contains("a-secret-key"));
}

#[test]
fn receivers_that_fail_redirect_stall_or_are_down_change_nothing_of_the_night_and_get_the_notice_later() {
    let fails_once = Receiver::start(|number| Answer::Status(if number == 0 { 500 } else { 200 }));
    let elsewhere = Receiver::start(|_| Answer::Status(200));
    let place = elsewhere.url();
    let redirects = Receiver::start(move |_| Answer::Redirect(format!("{place}/a-secret")));
    let stalls = Receiver::start(|_| Answer::Stall);
    let (down, gone) = (Receiver::reserve(), Receiver::reserve());
    let smtp = SmtpServer::start();
    let targets = [
        webhook("fails-once", &fails_once.url()),
        webhook("redirects", &redirects.url()),
        webhook("stalls", &stalls.url()),
        webhook("down", &down.url()),
        webhook("given-up", &gone.url()) + "give-up = \"1s\"\n",
        mail(
            "in-part",
            &["busy@site.test", "ops@site.test"],
            format!("url = \"{}\"\nevery-night = true", smtp.url()),
        ),
    ];
    let (mut site, _unit) = site_with(&targets.concat());
    site.night().unwrap();
    let (_, status) = site.status("m1").unwrap();
    assert_eq!(status["night"]["verdict"], "complete", "{status:#}");

    poll("the redirect", SOON, || {
        let waits = waits(&site);
        if waits.contains("redirects the request (302), which is not followed") { Ok(()) } else { Err(waits) }
    })
    .unwrap();
    let down = down.open(|_| Answer::Status(200));
    for receiver in [&fails_once, &down] {
        let enough = if std::ptr::eq(receiver, &down) { 1 } else { 2 };
        poll("the retry", RETRIED, || {
            if receiver.requests().len() >= enough { Ok(()) } else { Err(waits(&site)) }
        })
        .unwrap();
    }
    let ids: Vec<_> =
        fails_once.requests().iter().map(|post| post.header("idempotency-key").map(str::to_owned)).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1] && ids[0].is_some(), "the same id in each attempt: {ids:?}");
    let mails = poll("the mail to the one that was busy", RETRIED, || {
        let mails = smtp.mails();
        if mails.len() >= 2 { Ok(mails) } else { Err(waits(&site)) }
    })
    .unwrap();
    assert_eq!([&mails[0].to[..], &mails[1].to[..]], [["ops@site.test"], ["busy@site.test"]]);
    assert!(mails.len() == 2 && mails[0].text == mails[1].text, "the same mail, once for each: {mails:#?}");
    assert_eq!(elsewhere.requests().len(), 0, "a redirect to another host is not followed");

    poll("the notice that is given up", RETRIED, || {
        let (code, status) = site.status("m1").unwrap();
        let warnings = status["warnings"].to_string();
        if code == 3 && warnings.contains("notice-given-up") && warnings.contains("target given-up") {
            Ok(())
        } else {
            Err(warnings)
        }
    })
    .unwrap();
    assert!(site.log("m1").contains("was given up"), "{}", site.log("m1"));
    let again = site.run("m1", &["notify", "--test", "given-up"]).unwrap();
    assert!(again.code == 1 && again.stderr.contains("cannot connect"), "{again:?}");
    let _back = gone.open(|_| Answer::Status(200));
    good(site.run("m1", &["notify", "--test", "given-up"]).unwrap());
    let (_, status) = site.status("m1").unwrap();
    assert!(!status["warnings"].to_string().contains("target given-up"), "a test that arrives settles it");
}

#[test]
fn a_test_is_sent_the_way_of_every_notice_and_no_message_repeats_a_url() {
    let smtp = SmtpServer::start();
    let folder = tempfile::tempdir().unwrap();
    let sendmail = folder.path().join("sendmail");
    fs::write(
        &sendmail,
        format!("#!/bin/sh\necho \"$@\" > {0}/words\ncat > {0}/mail\n", folder.path().display()),
    )
    .unwrap();
    fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).unwrap();
    let closed = folder.path().join("closed");
    fs::write(&closed, format!("{}/very/secret", Receiver::reserve().url())).unwrap();
    let chat = Receiver::start(|_| Answer::Status(200));
    let formats = [("slack", "slack"), ("ntfy", "ntfy"), ("alertmanager", "api/v2/alerts")];
    let hooks = formats.map(|(format, path)| {
        let target = webhook(format, &format!("{}/{path}", chat.url()));
        format!("{target}format = \"{format}\"\n")
    });
    let targets = [
        mail("smtp", &["ops@site.test"], format!("url = \"{}\"", smtp.url())),
        mail("program", &["ops@site.test"], format!("sendmail = [\"{}\", \"-t\"]", sendmail.display())),
        format!("[[notify]]\nname = \"closed\"\nkind = \"ping\"\nurl-file = \"{}\"\n", closed.display()),
        hooks.concat(),
    ];
    let (site, _unit) = site_with(&targets.concat());
    for name in ["smtp", "program", "slack", "ntfy", "alertmanager"] {
        let sent = good(site.run("m1", &["notify", "--test", name]).unwrap());
        assert!(sent.stdout.contains(&format!("{name}: sent, with the id ")), "{sent:?}");
    }
    let [Mail { text: mail, .. }] = &smtp.mails()[..] else { panic!("{:?}", smtp.mails()) };
    assert!(mail.contains("To: ops@site.test") && mail.contains("test of a notification"), "{mail}");
    assert!(mail.contains("Message-ID: <"), "{mail}");
    assert_eq!(fs::read_to_string(folder.path().join("words")).unwrap(), "-t\n");
    assert!(
        fs::read_to_string(folder.path().join("mail"))
            .unwrap()
            .contains("From: \"nightshift\" <ns@site.test>")
            || fs::read_to_string(folder.path().join("mail"))
                .unwrap()
                .contains("From: nightshift <ns@site.test>")
    );
    let paths: Vec<String> = chat.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/slack", "/", "/api/v2/alerts"]);
    let ntfy: Value = serde_json::from_str(&chat.requests()[1].body).unwrap();
    assert_eq!(ntfy["topic"], "ntfy");

    let refused = ends_with(site.run("m1", &["notify", "--test", "closed"]).unwrap(), 1);
    assert!(refused.stderr.contains("cannot connect") && !refused.stderr.contains("secret"), "{refused:?}");
    let unknown = ends_with(site.run("m1", &["notify", "--test", "nothing"]).unwrap(), 2);
    assert!(unknown.stderr.contains("smtp, program, closed"), "{unknown:?}");
}
