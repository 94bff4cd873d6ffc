//! Uploads of a large file over several connections, some of which fail, and resumed uploads.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::time::Duration;

use kit::proxy::{Proxy, Way};
use nightshift_core::range_set::RangeSet;
use nightshift_ssh::{Sftp, SftpError, Timeouts, Upload, UploadError, Uploaded, upload};
use support::{Sshd, content, sshd, within};

const SIZE: usize = 60_000_007;

async fn connections(sshd: &Sshd, port: u16, count: usize) -> Vec<Sftp> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(sshd.session_at(port, &Timeouts::default()).await.sftp().await.unwrap());
    }
    sessions
}

/// Uploads `local` to `part`. Returns the result and the last reported progress.
async fn send(sshd: &Sshd, sessions: &[Sftp], done: RangeSet) -> (Result<Uploaded, UploadError>, RangeSet) {
    let (local, remote) = (sshd.path("local"), sshd.remote("part"));
    let mut last = RangeSet::new();
    let job = Upload { local: &local, remote_part: &remote, mode: 0o600, done };
    let run = job.run(sessions, |done| last = done.clone());
    let result = within(Duration::from_secs(120), run).await;
    (result, last)
}

fn arrived(sshd: &Sshd) -> bool {
    fs::read(sshd.path("part")).unwrap() == fs::read(sshd.path("local")).unwrap()
}

#[tokio::test]
async fn a_file_is_uploaded_completely_over_several_connections() {
    let Some(sshd) = sshd("") else { return };
    for size in [SIZE, 1, 0] {
        fs::write(sshd.path("local"), content(size)).unwrap();
        let sessions = connections(&sshd, sshd.port, upload::MAX_CONNECTIONS).await;
        let (sent, done) = send(&sshd, &sessions, RangeSet::new()).await;
        let (part, size) = (sshd.remote("part"), size as u64);
        assert_eq!(sent.unwrap(), Uploaded { part, size, sent: size, synced: true });
        assert!(done.covers(size) && arrived(&sshd), "{size}");
    }
}

#[tokio::test]
async fn the_other_connections_send_the_parts_of_a_broken_one() {
    let Some(sshd) = sshd("") else { return };
    fs::write(sshd.path("local"), content(SIZE)).unwrap();
    let proxy = Proxy::to(sshd.port).unwrap();
    let mut sessions = connections(&sshd, proxy.port, 1).await;
    sessions.extend(connections(&sshd, sshd.port, 1).await);
    proxy.cut_after(Way::Up, 5_000_000);
    let (sent, done) = send(&sshd, &sessions, RangeSet::new()).await;
    sent.unwrap();
    assert!(done.covers(SIZE as u64) && arrived(&sshd));
}

#[tokio::test]
async fn an_interrupted_upload_is_resumed_with_the_missing_parts() {
    let Some(sshd) = sshd("") else { return };
    let size = 200_000_000_u64;
    fs::write(sshd.path("local"), content(200_000_000)).unwrap();
    let proxy = Proxy::to(sshd.port).unwrap();
    let one = connections(&sshd, proxy.port, 1).await;
    proxy.cut_after(Way::Up, 150_000_000);
    let (cut, done) = send(&sshd, &one, RangeSet::new()).await;
    let cut = cut.unwrap_err();
    assert!(matches!(&cut, UploadError::Remote(error) if error.is_connection()), "{cut}");
    assert!(done.bytes() > 0 && !done.covers(size), "{done:?}");

    let stored = serde_json::to_string(&done).unwrap();
    let done: RangeSet = serde_json::from_str(&stored).unwrap();
    let already = done.bytes();
    let sessions = connections(&sshd, sshd.port, 2).await;
    let (sent, done) = send(&sshd, &sessions, done).await;
    assert_eq!(sent.unwrap().sent, size - already);
    assert!(done.covers(size) && arrived(&sshd));
}

#[tokio::test]
async fn an_upload_starts_again_if_the_remote_part_is_missing_or_truncated() {
    let Some(sshd) = sshd("") else { return };
    fs::write(sshd.path("local"), content(SIZE)).unwrap();
    let claimed = RangeSet::from(vec![(0, 50_000_000)]);
    let sessions = connections(&sshd, sshd.port, 2).await;
    for part in [None, Some(content(1000))] {
        match part {
            Some(part) => fs::write(sshd.path("part"), part).unwrap(),
            None => assert!(!sshd.path("part").exists()),
        }
        let (sent, _) = send(&sshd, &sessions, claimed.clone()).await;
        assert_eq!(sent.unwrap().sent, SIZE as u64);
        assert!(arrived(&sshd));
    }
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_is_an_error() {
    let Some(sshd) = sshd("") else { return };
    fs::write(sshd.path("local"), content(SIZE)).unwrap();
    let proxy = Proxy::delayed(sshd.port, Duration::from_millis(5)).unwrap();
    let sessions = connections(&sshd, proxy.port, 1).await;
    let shrink = async {
        while proxy.count(Way::Up) < 1_000_000 {
            tokio::task::yield_now().await;
        }
        fs::write(sshd.path("local"), "short").unwrap();
    };
    let ((sent, _), ()) = tokio::join!(send(&sshd, &sessions, RangeSet::new()), shrink);
    let error = sent.unwrap_err();
    assert!(matches!(error, UploadError::LocalChanged { .. }), "{error}");
}

#[tokio::test]
async fn a_target_without_write_permission_is_refused_at_once() {
    let Some(sshd) = sshd("") else { return };
    fs::write(sshd.path("local"), content(1000)).unwrap();
    sshd.authorize("restrict,command=\"internal-sftp -R\"", "id.pub");
    let sessions = connections(&sshd, sshd.port, 2).await;
    let (refused, done) = send(&sshd, &sessions, RangeSet::new()).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, UploadError::Remote(SftpError::Denied { .. })), "{refused}");
    assert!(done.is_empty());
    let (none, _) = send(&sshd, &[], RangeSet::new()).await;
    assert!(matches!(none, Err(UploadError::NoSessions)));
}

#[tokio::test]
async fn an_upload_to_a_server_without_fsync_is_reported_as_not_synced() {
    let Some(sshd) = sshd("") else { return };
    sshd.authorize("command=\"internal-sftp -P limits,fsync\"", "id.pub");
    fs::write(sshd.path("local"), content(SIZE)).unwrap();
    let sessions = connections(&sshd, sshd.port, 2).await;
    let (sent, done) = send(&sshd, &sessions, RangeSet::new()).await;
    assert!(!sent.unwrap().synced);
    assert!(done.covers(SIZE as u64) && arrived(&sshd));
}
