#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nightshift_core::role::Role;
use nightshift_core::stage::Stage;

use super::*;
use crate::testing;

fn hosts(count: usize) -> Vec<Host> {
    (1..=count).map(|n| testing::host(&format!("n{n}"), Role::Node)).collect()
}

fn context(dir: &std::path::Path) -> StageContext {
    let settings = testing::settings(dir, vec![testing::host("m1", Role::Master)]);
    testing::context(settings, "2026-11-22", Stage::PullNodes)
}

/// So that a test takes a blink.
const PAUSE: Duration = Duration::from_millis(20);
const HELD: Answer = Answer::Held { grade: Grade::Good, fresh: true };

async fn drain<'a>(mut queue: Queue<'a>, look: &(impl Fn(&'a Host) -> Look<'a> + Sync)) -> Vec<Answer> {
    queue.first_pause = PAUSE;
    let mut answers = Vec::new();
    while let Some((_, answer)) = queue.next(look).await {
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn a_peer_that_is_not_ready_is_asked_again_with_growing_pauses() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, hosts) = (context(dir.path()), hosts(1));
    let asked = Mutex::new(Vec::new());
    let look = |_| {
        let mut asked = asked.lock().unwrap();
        asked.push(Instant::now());
        let answer = if asked.len() < 6 { Answer::NotYet("not yet".into()) } else { HELD };
        async move { answer }.boxed()
    };
    let queue = Queue::new(&ctx, hosts.iter().collect());
    assert_eq!(drain(queue, &look).await, [HELD]);
    let asked = asked.into_inner().unwrap();
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 5);
    assert!(pauses.iter().all(|pause| *pause >= PAUSE / 2), "{pauses:?}");
    assert!(pauses[4] > pauses[0] * 2, "{pauses:?}");
}

#[tokio::test]
async fn waiting_ends_at_until_and_the_last_answer_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ctx, hosts) = (context(dir.path()), hosts(2));
    ctx.until = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(500);
    let begun = Instant::now();
    let look = |host: &Host| {
        let answer = if host.name.as_str() == "n1" { HELD } else { Answer::Trouble("refused".into()) };
        async move { answer }.boxed()
    };
    let queue = Queue::new(&ctx, hosts.iter().collect());
    assert_eq!(drain(queue, &look).await, [HELD, Answer::Trouble("refused".into())]);
    assert!(begun.elapsed() > PAUSE, "it was asked more than once: {:?}", begun.elapsed());
}

#[tokio::test]
async fn everyone_is_asked_once_although_until_has_passed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ctx, hosts) = (context(dir.path()), hosts(5));
    ctx.until = jiff::Timestamp::UNIX_EPOCH;
    let look = |_: &Host| async { Answer::NotYet("not yet".into()) }.boxed();
    let queue = Queue::new(&ctx, hosts.iter().collect());
    assert_eq!(drain(queue, &look).await.len(), 5);
}

#[tokio::test]
async fn what_is_hopeless_is_not_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, hosts) = (context(dir.path()), hosts(1));
    let asked = AtomicUsize::new(0);
    let look = |_: &Host| {
        asked.fetch_add(1, Ordering::Relaxed);
        async { Answer::Hopeless("another host key".into()) }.boxed()
    };
    let queue = Queue::new(&ctx, hosts.iter().collect());
    drain(queue, &look).await;
    assert_eq!(asked.into_inner(), 1);
}

#[tokio::test]
async fn no_more_peers_are_asked_at_once_than_are_allowed_and_a_waiting_one_holds_no_slot() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, hosts) = (context(dir.path()), hosts(7));
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tries = Mutex::new(BTreeMap::<String, u32>::new());
    let look = |host: &Host| {
        let name = host.name.to_string();
        let (now, most, tries) = (&now, &most, &tries);
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
            now.fetch_sub(1, Ordering::Relaxed);
            let mut tries = tries.lock().unwrap();
            let tried = tries.entry(name).or_default();
            *tried += 1;
            if *tried < 2 { Answer::NotYet("not yet".into()) } else { HELD }
        }
        .boxed()
    };
    let queue = Queue::new(&ctx, hosts.iter().collect());
    assert_eq!(drain(queue, &look).await.len(), 7);
    assert_eq!(most.load(Ordering::Relaxed), ctx.stage_settings().parallel);
}
