#![allow(clippy::unwrap_used)]
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
    queue.sent(&path, now).unwrap();
    assert_eq!(queue.first().unwrap().unwrap().1.notice, notice(1));
    assert_eq!(queue.state().unwrap().last_success, Some(now));
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
    queue.sent(&path, now).unwrap();
    assert_eq!(queue.state().unwrap().given_up, None);
}
