#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nightshift_core::role::Role;
use nightshift_core::stage::Stage;

use super::*;
use crate::testing;

fn hosts(count: usize) -> Vec<Arc<Host>> {
    (1..=count).map(|n| Arc::new(testing::host(&format!("n{n}"), Role::Node))).collect()
}

fn context(dir: &std::path::Path) -> StageContext {
    let settings = testing::settings(dir, vec![testing::host("m1", Role::Master)]);
    testing::context(settings, "2026-11-22", Stage::PullNodes)
}

/// Short, so that the tests are quick.
const BACKOFF: Duration = Duration::from_millis(20);

fn retry(reason: &str) -> Polled<()> {
    Polled::Retry(reason.into())
}

async fn drain<'a>(
    ctx: &StageContext,
    hosts: &[Arc<Host>],
    poll: &(impl Fn(Arc<Host>) -> Poll<'a, ()> + Sync),
) -> Vec<Result<(), String>> {
    let mut queue = Queue::new(ctx, hosts.to_vec()).with_backoff(BACKOFF);
    let mut results = Vec::new();
    while let Some((_, result)) = queue.next(poll).await {
        results.push(result);
    }
    results
}

#[tokio::test]
async fn a_peer_that_is_not_ready_is_polled_again_with_a_growing_backoff() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, hosts) = (context(dir.path()), hosts(1));
    let polls = Mutex::new(Vec::new());
    let poll = |_| {
        let mut polls = polls.lock().unwrap();
        polls.push(Instant::now());
        let polled = if polls.len() < 6 { retry("not yet") } else { Polled::Ready(()) };
        async move { polled }.boxed()
    };
    assert_eq!(drain(&ctx, &hosts, &poll).await, [Ok(())]);
    let polls = polls.into_inner().unwrap();
    let pauses: Vec<Duration> = polls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 5);
    assert!(pauses.iter().all(|pause| *pause >= BACKOFF / 2), "{pauses:?}");
    assert!(pauses[4] > pauses[0] * 2, "{pauses:?}");
}

#[tokio::test]
async fn waiting_ends_at_until_with_the_last_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ctx, hosts) = (context(dir.path()), hosts(2));
    ctx.until = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(500);
    let begun = Instant::now();
    let poll = |host: Arc<Host>| {
        let polled = if host.name.as_str() == "n1" { Polled::Ready(()) } else { retry("refused") };
        async move { polled }.boxed()
    };
    assert_eq!(drain(&ctx, &hosts, &poll).await, [Ok(()), Err("refused".into())]);
    assert!(begun.elapsed() > BACKOFF, "polled more than once: {:?}", begun.elapsed());
}

#[tokio::test]
async fn every_peer_is_polled_once_although_until_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ctx, hosts) = (context(dir.path()), hosts(5));
    ctx.until = jiff::Timestamp::UNIX_EPOCH;
    let poll = |_: Arc<Host>| async { retry("not yet") }.boxed();
    assert_eq!(drain(&ctx, &hosts, &poll).await.len(), 5);
}

#[tokio::test]
async fn a_peer_that_is_given_up_is_not_polled_again() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, hosts) = (context(dir.path()), hosts(1));
    let polls = AtomicUsize::new(0);
    let poll = |_: Arc<Host>| {
        polls.fetch_add(1, Ordering::Relaxed);
        async { Polled::GiveUp("another host key".into()) }.boxed()
    };
    assert_eq!(drain(&ctx, &hosts, &poll).await, [Err("another host key".into())]);
    assert_eq!(polls.into_inner(), 1);
}

#[tokio::test]
async fn no_more_peers_are_polled_in_parallel_than_allowed_and_a_waiting_one_uses_no_slot() {
    let dir = tempfile::tempdir().unwrap();
    let (ctx, hosts) = (context(dir.path()), hosts(7));
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tries = Mutex::new(BTreeMap::<String, u32>::new());
    let poll = |host: Arc<Host>| {
        let name = host.name.to_string();
        let (now, most, tries) = (&now, &most, &tries);
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(BACKOFF).await;
            now.fetch_sub(1, Ordering::Relaxed);
            let mut tries = tries.lock().unwrap();
            let tried = tries.entry(name).or_default();
            *tried += 1;
            if *tried < 2 { retry("not yet") } else { Polled::Ready(()) }
        }
        .boxed()
    };
    assert_eq!(drain(&ctx, &hosts, &poll).await.len(), 7);
    assert_eq!(most.load(Ordering::Relaxed), ctx.stage_settings().parallel);
}

#[tokio::test]
async fn a_poll_that_does_not_end_is_left_to_run_at_until() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ctx, hosts) = (context(dir.path()), hosts(3));
    ctx.until = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(300);
    let (release, released) = tokio::sync::watch::channel(false);
    // Two slots: n1 is ready, n2 does not end, and n3 has nothing yet.
    let poll = |host: Arc<Host>| {
        let mut released = released.clone();
        async move {
            match host.name.as_str() {
                "n1" => Polled::Ready(()),
                "n2" => {
                    released.wait_for(|released| *released).await.unwrap();
                    Polled::Ready(())
                }
                _ => retry("not yet"),
            }
        }
        .boxed()
    };
    let mut queue = Queue::new(&ctx, hosts).with_backoff(BACKOFF);
    let mut results = Vec::new();
    while let Some((host, result)) = queue.next(&poll).await {
        results.push((host.name.to_string(), result));
    }
    assert_eq!(results, [("n1".to_owned(), Ok(())), ("n3".to_owned(), Err("not yet".to_owned()))]);
    let still_polled: Vec<&str> = queue.still_polled().iter().map(|host| host.name.as_str()).collect();
    assert_eq!(still_polled, ["n2"]);
    release.send(true).unwrap();
    let rest = futures_util::future::join_all(queue.into_running()).await;
    let rest: Vec<_> = rest.iter().map(|(host, polled)| (host.name.as_str(), polled)).collect();
    assert_eq!(rest, [("n2", &Polled::Ready(()))]);
}
