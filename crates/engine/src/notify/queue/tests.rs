#![allow(clippy::unwrap_used)]
use nightshift_core::notify::Exception;
use nightshift_core::role::Role;

use super::*;
use crate::testing::{host, settings};

fn queue(dir: &Path) -> Queue {
    Queue::of(&settings(dir, vec![host("m1", Role::Node)]), &"chat".parse().unwrap())
}

fn notice(which: usize) -> Notice {
    Notice::test(&"prod".parse().unwrap(), &"m1".parse().unwrap(), Timestamp::UNIX_EPOCH, &which.to_string())
}

#[test]
fn notices_wait_in_their_order_and_none_waits_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, now) = (queue(dir.path()), Timestamp::now());
    for number in [0, 1, 0] {
        queue.put(&notice(number), number, now).unwrap();
    }
    assert_eq!(queue.waiting().unwrap(), 2);
    let (path, first) = queue.first().unwrap().unwrap();
    assert_eq!(first.notice, notice(0));
    let failed = queue.failed(&path, first, "connection refused".into(), now).unwrap();
    assert!(failed.next > now && queue.first().unwrap().unwrap().1 == failed, "it stays the first one");
    queue.sent(&path, now, None).unwrap();
    assert_eq!(queue.first().unwrap().unwrap().1.notice, notice(1));
    assert_eq!(queue.state().unwrap().last_success, Some(now));
}

#[test]
fn a_notice_that_waits_for_some_recipients_delays_no_other_and_goes_to_these_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, now) = (queue(dir.path()), Timestamp::now());
    let at = |hours| now + jiff::SignedDuration::from_hours(hours);
    let exceptions = |later: &[&str], refused: &[&str]| {
        let of = |to: &&str| Exception { to: (*to).to_owned(), reason: "450 greylisted".into() };
        Exceptions { later: later.iter().map(of).collect(), refused: refused.iter().map(of).collect() }
    };
    for (number, (to, hours)) in [("a@b.c", 2), ("d@e.f", 1)].into_iter().enumerate() {
        queue.put(&notice(number), number, now).unwrap();
        let (path, queued) = queue.first().unwrap().unwrap();
        let others = exceptions(&[to, "g@h.i"], &["j@k.l"]);
        queue.sent_in_part(&path, queued, &others, "450 greylisted".into(), at(hours)).unwrap();
    }
    let (path, earliest) = queue.first().unwrap().unwrap();
    assert_eq!(
        (&earliest.notice, &earliest.only[..]),
        (&notice(1), &["d@e.f".to_owned(), "g@h.i".to_owned()][..])
    );
    assert_eq!(queue.state().unwrap().last_success, Some(at(1)));
    queue.put(&notice(2), 2, now).unwrap();
    assert_eq!(queue.first().unwrap().unwrap().1.notice, notice(2));

    let second = exceptions(&[], &["d@e.f"]);
    let refused = earliest.refused_with(&second);
    assert_eq!(refused.as_deref(), Some("j@k.l: 450 greylisted; d@e.f: 450 greylisted"));
    queue.sent(&path, now, refused.clone()).unwrap();
    assert_eq!((queue.waiting().unwrap(), queue.state().unwrap().refused), (2, refused));
}

#[test]
fn a_full_queue_gives_up_the_oldest_notice_and_the_next_success_settles_that() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, now) = (queue(dir.path()), Timestamp::now());
    let dropped: Vec<Queued> =
        (0..MAX_WAITING + 1).flat_map(|number| queue.put(&notice(number), number, now).unwrap()).collect();
    let [dropped] = &dropped[..] else { panic!("{dropped:#?}") };
    assert_eq!((&dropped.notice, queue.waiting().unwrap()), (&notice(0), MAX_WAITING));
    assert!(queue.state().unwrap().given_up.is_some());
    let (path, _) = queue.first().unwrap().unwrap();
    queue.sent(&path, now, None).unwrap();
    assert_eq!(queue.state().unwrap().given_up, None);
}

#[test]
fn a_notice_that_was_sent_or_given_up_does_not_wait_also_if_the_state_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, now) = (queue(dir.path()), Timestamp::now());
    for number in [0, 1] {
        queue.put(&notice(number), number, now).unwrap();
    }
    // Nothing can be renamed to a directory that is not empty.
    let state = settings(dir.path(), vec![host("m1", Role::Node)]).paths.notices().join("chat").join(STATE);
    std::fs::create_dir_all(state.join("x")).unwrap();
    let (path, _) = queue.first().unwrap().unwrap();
    queue.sent(&path, now, None).unwrap_err();
    let (path, queued) = queue.first().unwrap().unwrap();
    assert_eq!(queued.notice, notice(1));
    queue.give_up(&path, &queued, now).unwrap_err();
    assert_eq!(queue.first().unwrap(), None);
}

#[test]
fn notices_of_a_target_that_left_the_config_are_lost_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), vec![host("m1", Role::Node)]);
    let queue = queue(dir.path());
    queue.put(&notice(1), 0, Timestamp::now()).unwrap();
    let lost = sweep(&settings).unwrap();
    let [(of, queued)] = &lost[..] else { panic!("{lost:#?}") };
    assert_eq!((of.target().as_str(), &queued.notice), ("chat", &notice(1)));
    assert!(queued.reason().contains("no longer has this target"), "{queued:?}");
    assert!(sweep(&settings).unwrap().is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside_and_the_notices_after_it_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), vec![host("m1", Role::Node)]);
    let (queue, now) = (queue(dir.path()), Timestamp::now());
    queue.put(&notice(1), 0, now).unwrap();
    let of_target = settings.paths.notices().join("chat");
    for (name, content) in [("0000-zero.json", ""), ("0000-half.json", "{\"since\":"), (STATE, "x")] {
        std::fs::write(of_target.join(name), content).unwrap();
    }
    std::fs::create_dir(of_target.join("0001-directory.json")).unwrap();
    assert!(queue.first().is_err() && queue.state().is_err());

    let lines = queue.set_aside_unreadable().unwrap();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("it was moved to ") && line.ends_with(".unreadable")));
    assert_eq!(queue.first().unwrap().unwrap().1.notice, notice(1));
    assert_eq!((queue.waiting().unwrap(), queue.state().unwrap()), (1, TargetState::default()));
    assert_eq!(queue.set_aside_unreadable().unwrap(), Vec::<String>::new());
}

#[test]
fn a_notice_that_was_queued_under_a_clock_that_was_ahead_waits_since_the_first_attempt_under_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let (queue, now) = (queue(dir.path()), Timestamp::now());
    let ahead = now + jiff::SignedDuration::from_hours(24 * 3650);
    queue.put(&notice(1), 0, ahead).unwrap();
    let (path, queued) = queue.first().unwrap().unwrap();
    assert_eq!(queued.since, ahead);
    queue.failed(&path, queued.not_ahead_of(now), "refused".into(), now).unwrap();
    assert_eq!(queue.first().unwrap().unwrap().1.since, now);
    let later = now + jiff::SignedDuration::from_hours(1);
    assert_eq!(queue.first().unwrap().unwrap().1.not_ahead_of(later).since, now, "and it stays so");
}
