#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use super::*;
use crate::outcome::Grade;
use crate::proof::DrillVerdict;
use crate::record::{Fate, Line, ProofReport, Record, SetReport, Step};
use crate::status::Space;
use crate::summary::{Judgement, judge};

const NOW: &str = "2026-11-22T23:00:00Z";
/// What ssh writes about a key that is not pinned.
const UNPINNED: &str =
    "e1 (10.0.0.1:22): its host key ssh-ed25519 SHA256:x is not pinned; compare it with the fingerprint";

fn night(name: &str, steps: Vec<Step>) -> Record {
    let opened = Step::Opened {
        format: 1,
        night: name.parse().unwrap(),
        host: "m1".parse().unwrap(),
        version: "0".into(),
        closes: NOW.parse().unwrap(),
        expected: Vec::new(),
        stages: Vec::new(),
        remotes: Vec::new(),
        restored: None,
        backup: None,
        tolerate: None,
    };
    let lines = [opened].into_iter().chain(steps);
    Record::from_lines(lines.map(|step| Line { at: NOW.parse().unwrap(), step })).unwrap()
}

fn set(name: &str, fate: Fate, grade: Option<Grade>, reason: &str) -> Step {
    Step::Set(SetReport {
        set: name.parse().unwrap(),
        fate,
        grade,
        from: None,
        bytes: 1,
        sha256: None,
        reason: Some(reason.to_owned()),
        verified: None,
    })
}

fn pulled(name: &str, grade: Grade) -> Step {
    set(name, Fate::Pulled, Some(grade), "smaller than before")
}

fn drilled(name: &str, verdict: DrillVerdict) -> Step {
    Step::Proved(ProofReport {
        set: name.parse().unwrap(),
        by: "e2".parse().unwrap(),
        verdict,
        copy: "the vault of e2".into(),
        reason: Some("etcd did not start".into()),
        took_ms: 1,
        secrets: None,
    })
}

type Nights = Vec<(Record, Option<Judgement>)>;

fn open(record: Record) -> (Record, Option<Judgement>) {
    (record, None)
}

fn ended(record: Record, verdict: Verdict) -> (Record, Option<Judgement>) {
    let judged = Judgement { verdict, ..judge(&record) };
    (record, Some(judged))
}

struct Site {
    known: Option<Known>,
    stale: Option<&'static str>,
    free: u64,
}

impl Site {
    fn new() -> Self {
        Self { known: None, stale: None, free: 50 }
    }

    fn look(&self, nights: &Nights) -> (Known, Vec<Notice>) {
        let observed = Observed {
            cluster: &"prod".parse().unwrap(),
            host: &"m1".parse().unwrap(),
            now: NOW.parse().unwrap(),
            nights,
            stale: self.stale,
            vault: Some(Space { total: 100, free: self.free }),
            min_free: 5,
        };
        changes(self.known.as_ref(), &observed)
    }

    /// The titles of what is new, without the host.
    fn news(&mut self, nights: Nights) -> Vec<String> {
        let (known, notices) = self.look(&nights);
        // What is stored is what is known after a restart.
        let stored = serde_json::to_string(&known).unwrap();
        self.known = Some(serde_json::from_str(&stored).unwrap());
        assert_eq!(self.look(&nights).1, [], "nothing is news twice");
        notices.iter().map(|notice| notice.title.strip_prefix("prod/m1: ").unwrap().to_owned()).collect()
    }
}

#[test]
fn a_night_that_opens_and_each_result_of_it_are_news_and_nights_before_the_first_look_are_not() {
    let mut site = Site::new();
    let first = || ended(night("2026-11-21", vec![]), Verdict::Degraded);
    assert_eq!(site.news(vec![first()]), [""; 0]);
    let tonight = || night("2026-11-22", vec![]);
    assert_eq!(site.news(vec![first(), open(tonight())]), ["night 2026-11-22 is open"]);
    assert_eq!(site.news(vec![first(), ended(tonight(), Verdict::Failed)]), ["night 2026-11-22 is failed"]);
    assert_eq!(site.news(vec![first(), open(tonight())]), [""; 0], "a stage runs again");
    assert_eq!(
        site.news(vec![first(), ended(tonight(), Verdict::Complete)]),
        ["night 2026-11-22 is complete"]
    );
    // The daemon was down for two nights of which one has a record.
    let later = ended(night("2026-11-24", vec![]), Verdict::Complete);
    assert_eq!(
        site.news(vec![ended(tonight(), Verdict::Complete), later]),
        ["night 2026-11-24 is open", "night 2026-11-24 is complete"]
    );
}

#[test]
fn only_a_target_that_wants_every_night_gets_one_with_the_result_of_the_night_before() {
    let mut site = Site::new();
    site.news(vec![ended(night("2026-11-21", vec![]), Verdict::Complete)]);
    let nights = vec![ended(night("2026-11-22", vec![]), Verdict::Complete)];
    let (_, notices) = site.look(&nights);
    let settled = notices.iter().find(|notice| notice.topic == Topic::NightSettled).unwrap();
    let mut target = Target {
        name: "chat".parse().unwrap(),
        kind: TargetKind::Command { argv: vec!["/bin/true".into()] },
        events: Target::default_events(false),
        every_night: false,
        give_up: std::time::Duration::from_secs(60),
    };
    assert!(settled.unchanged && !target.wants(settled));
    target.every_night = true;
    assert!(target.wants(settled));
    target.every_night = false;
    target.kind = TargetKind::Ping { url: Secret::Inline("https://hc/x".into()), ca: None };
    assert!(target.wants(settled), "a ping reports that the night ran at all");
    let degraded = vec![ended(night("2026-11-22", vec![]), Verdict::Degraded)];
    assert!(!site.look(&degraded).1.iter().any(|notice| notice.unchanged));
}

#[test]
fn what_is_wrong_is_news_when_it_comes_and_when_it_is_over_and_a_night_without_a_set_changes_nothing() {
    let mut site = Site::new();
    let etcd = "e1/2026-11-22/etcd";
    site.news(vec![open(night("2026-11-22", vec![]))]);
    let mut news = |steps: Vec<Step>| site.news(vec![open(night("2026-11-22", steps))]);
    assert_eq!(news(vec![pulled(etcd, Grade::Suspicious)]), ["the etcd set of e1 is suspicious"]);
    assert_eq!(news(vec![]), [""; 0], "a record that says nothing about the host");
    assert_eq!(
        news(vec![pulled(etcd, Grade::Diverged)]),
        ["the etcd set of e1 has diverged", "no longer: the etcd set of e1 is suspicious"]
    );
    assert_eq!(news(vec![pulled(etcd, Grade::Good)]), ["no longer: the etcd set of e1 has diverged"]);
    assert_eq!(
        news(vec![drilled(etcd, DrillVerdict::NotRestorable)]),
        ["a stored etcd set of e1 does not restore"]
    );
    assert_eq!(news(vec![drilled(etcd, DrillVerdict::NotProved)]), [""; 0]);
    assert_eq!(
        news(vec![drilled(etcd, DrillVerdict::Proved)]),
        ["no longer: a stored etcd set of e1 does not restore"]
    );
    assert_eq!(
        news(vec![set(etcd, Fate::Missing, None, UNPINNED)]),
        ["the host key of e1 is unknown or has changed"]
    );
    assert_eq!(news(vec![set(etcd, Fate::Missing, None, "connection refused")]), [""; 0]);
}

#[test]
fn other_sets_of_a_host_say_nothing_about_its_etcd_member() {
    let mut site = Site::new();
    site.news(vec![open(night("2026-11-22", vec![]))]);
    let mut news = |steps: Vec<Step>| site.news(vec![open(night("2026-11-22", steps))]);
    let diverged = || pulled("e1/2026-11-22/etcd", Grade::Diverged);
    let others = || ["node", "master"].map(|role| pulled(&format!("e1/2026-11-22/{role}"), Grade::Good));
    assert_eq!(news([diverged()].into_iter().chain(others()).collect()), ["the etcd set of e1 has diverged"]);
    let rival = pulled("n1/2026-11-22/node", Grade::Diverged);
    assert_eq!(news(vec![diverged(), rival]), ["the node set of n1 is suspicious"]);
}

#[test]
fn stale_backups_and_a_full_disk_are_reported_once_and_a_size_around_the_limit_is_not_reported_again() {
    let mut site = Site::new();
    site.stale = Some("the last restorable night is 2026-11-20");
    site.free = 9;
    assert_eq!(site.news(vec![]), ["backups are stale", "the vault's file system is nearly full"]);
    for free in [10, 11, 9] {
        site.free = free;
        assert_eq!(site.news(vec![]), [""; 0], "{free}");
    }
    (site.free, site.stale) = (12, None);
    assert_eq!(
        site.news(vec![]),
        ["no longer: backups are stale", "no longer: the vault's file system is nearly full"]
    );
}

#[test]
fn the_same_change_has_the_same_id_and_each_change_its_own() {
    let mut site = Site::new();
    let mut ids = BTreeSet::new();
    for (stale, count) in [(Some("x"), 1), (None, 2), (Some("x"), 3)] {
        site.stale = stale;
        let id = site.look(&vec![]).1[0].id.clone();
        assert_eq!(site.look(&vec![]).1[0].id, id, "a crash before it was noted");
        ids.insert(id);
        site.news(vec![]);
        assert_eq!(ids.len(), count);
    }
    assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'8'), "{ids:?}");
}

#[test]
fn many_changes_of_one_kind_are_one_notice() {
    let mut site = Site::new();
    let all = (0..40).map(|number| set(&format!("n{number}/2026-11-22/node"), Fate::Missing, None, UNPINNED));
    let nights = vec![open(night("2026-11-22", all.collect()))];
    let (_, notices) = site.look(&nights);
    let [_, all] = &notices[..] else { panic!("{notices:#?}") };
    let alerts = webhook(WebhookFormat::Alertmanager, all, "").unwrap();
    let alerts = alerts.as_array().unwrap();
    assert_eq!((alerts.len(), &alerts[7]["labels"]["subject"]), (40, &"n15".into()), "{alerts:#?}");
    assert_eq!(all.title, "prod/m1: host-key-mismatch: 40 at once");
    assert!(all.text.contains("n1") && all.text.ends_with("and 28 more"), "{}", all.text);
    site.news(nights);
}

#[test]
fn a_notice_of_many_changes_fits_into_one_message() {
    let site = Site::new();
    let labels = [(); 4].map(|()| "a".repeat(60)).join(".");
    let name = |number: usize| format!("n{number:03}.{labels}");
    let all = (0..450)
        .map(|number| set(&format!("{}/2026-11-22/node", name(number)), Fate::Missing, None, UNPINNED));
    let (_, notices) = site.look(&vec![open(night("2026-11-22", all.collect()))]);
    assert_eq!(notices.iter().map(|notice| notice.subjects.len()).sum::<usize>(), 450);
    let longest = notices.iter().map(|notice| serde_json::to_string(notice).unwrap().len()).max().unwrap();
    assert!(longest < 60 << 10, "{longest} bytes");
}

fn notice(topic: Topic, verdict: Option<Verdict>) -> Notice {
    let sender = (&"prod".parse().unwrap(), &"m1".parse().unwrap());
    let notice = Notice::new(topic, sender, NOW.parse().unwrap(), "", "a <b> & c").with_lines(["line"]);
    Notice { verdict, night: Some("2026-11-22".parse().unwrap()), severity: Severity::Warning, ..notice }
}

#[test]
fn a_ping_says_how_the_run_went_and_start_and_end_are_the_same_run() {
    let path = |topic, verdict| ping(&notice(topic, verdict)).path;
    assert_eq!(path(Topic::NightOpened, None), "/start");
    assert_eq!(path(Topic::NightSettled, Some(Verdict::Complete)), "");
    assert_eq!(path(Topic::NightSettled, Some(Verdict::Degraded)), "/fail");
    assert_eq!(path(Topic::NightSettled, Some(Verdict::Failed)), "/fail");
    assert_eq!(path(Topic::Stale, None), "/log");
    let start = ping(&notice(Topic::NightOpened, None));
    assert_eq!(start.rid, ping(&notice(Topic::NightSettled, Some(Verdict::Failed))).rid);
    assert!(start.rid.is_some() && ping(&notice(Topic::Stale, None)).rid.is_none());
}

#[test]
fn each_webhook_gets_the_body_that_it_expects() {
    let stale = notice(Topic::Stale, None);
    let slack = webhook(WebhookFormat::Slack, &stale, "").unwrap();
    assert_eq!(slack["text"], ":warning: *prod/m1: a &lt;b&gt; &amp; c*\nline");
    let ntfy = webhook(WebhookFormat::Ntfy, &stale, "alerts").unwrap();
    assert_eq!((&ntfy["topic"], &ntfy["priority"]), (&"alerts".into(), &3.into()));
    let json = webhook(WebhookFormat::Json, &stale, "").unwrap();
    assert_eq!((&json["event"], &json["night"]), (&"stale".into(), &"2026-11-22".into()));

    let alert = |notice: &Notice| webhook(WebhookFormat::Alertmanager, notice, "").unwrap()[0].clone();
    let resolved = Notice { resolved: true, severity: Severity::Info, ..stale.clone() };
    let (fires, ends) = (alert(&stale), alert(&resolved));
    assert_eq!(fires["labels"], ends["labels"], "Alertmanager resolves an alert by its labels");
    assert_eq!(fires["labels"]["alertname"], "NightshiftStale");
    assert_eq!(ends["endsAt"], NOW);
    assert_eq!(webhook(WebhookFormat::Alertmanager, &notice(Topic::NightOpened, None), ""), None);
    let settled = notice(Topic::NightSettled, Some(Verdict::Failed));
    let extra = Notice { night: Some("2026-11-22.1".parse().unwrap()), ..settled.clone() };
    assert!(webhook(WebhookFormat::Alertmanager, &settled, "").is_some());
    assert_eq!(webhook(WebhookFormat::Alertmanager, &extra, ""), None, "no later night would end it");
}
