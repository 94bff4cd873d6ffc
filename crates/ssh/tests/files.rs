//! Files over SFTP with a real sshd.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use kit::proxy::{Proxy, Way};
use nightshift_ssh::{FileKind, Sftp, SftpError, Timeouts};
use support::{Sshd, content, sshd, within};

async fn connected(settings: &str) -> Option<(Sshd, Sftp)> {
    let sshd = sshd(settings)?;
    let sftp = sshd.session().await.sftp().await.unwrap();
    Some((sshd, sftp))
}

async fn download(sftp: &Sftp, path: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>, SftpError> {
    let mut got = Vec::new();
    let mut sink = |data: &[u8]| {
        got.extend_from_slice(data);
        Ok(())
    };
    sftp.download(path, range, &mut sink).await?;
    Ok(got)
}

#[tokio::test]
async fn a_large_file_arrives_whole_and_in_order() {
    let Some((sshd, sftp)) = connected("").await else { return };
    let bytes = content(30_000_001);
    fs::write(sshd.path("big"), &bytes).unwrap();
    let path = sshd.remote("big");
    assert!(download(&sftp, &path, 0..30_000_001).await.unwrap() == bytes);
    assert!(download(&sftp, &path, 12_345_678..20_000_000).await.unwrap() == bytes[12_345_678..20_000_000]);
    assert!(download(&sftp, &path, 5..5).await.unwrap().is_empty());
}

#[tokio::test]
async fn many_downloads_share_one_connection() {
    let Some((sshd, sftp)) = connected("").await else { return };
    for at in 0..300 {
        fs::write(sshd.path(&format!("f{at}")), content(1000 + at * 997)).unwrap();
    }
    let all = (0..300).map(|at| {
        let (sftp, path) = (&sftp, sshd.remote(&format!("f{at}")));
        async move { download(sftp, &path, 0..1000 + at * 997).await.unwrap().len() as u64 }
    });
    let sizes = futures_util::future::join_all(all).await;
    assert_eq!(sizes, (0..300).map(|at| 1000 + at * 997).collect::<Vec<_>>());
}

#[tokio::test]
async fn missing_denied_and_truncated_files_are_different_errors() {
    let Some((sshd, sftp)) = connected("").await else { return };
    fs::write(sshd.path("short"), content(1000)).unwrap();
    let gone = download(&sftp, &sshd.remote("none"), 0..10).await.unwrap_err();
    assert!(gone.is_gone() && gone.to_string().contains("/none"), "{gone}");
    let short = download(&sftp, &sshd.remote("short"), 0..2000).await.unwrap_err();
    assert!(matches!(short, SftpError::Truncated { end: 1000, expected: 2000, .. }), "{short}");
    if sshd.user != "root" {
        fs::set_permissions(sshd.path("short"), fs::Permissions::from_mode(0o000)).unwrap();
        let denied = download(&sftp, &sshd.remote("short"), 0..10).await.unwrap_err();
        assert!(matches!(denied, SftpError::Denied { .. }), "{denied}");
    }
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_download_with_its_own_error() {
    let Some((sshd, sftp)) = connected("").await else { return };
    fs::write(sshd.path("big"), content(3_000_000)).unwrap();
    let mut full = |_: &[u8]| Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    let error = sftp.download(&sshd.remote("big"), 0..3_000_000, &mut full).await.unwrap_err();
    assert!(matches!(error, SftpError::Sink { .. }), "{error}");
    assert_eq!(
        download(&sftp, &sshd.remote("big"), 0..9).await.unwrap().len(),
        9,
        "the connection still works"
    );
}

#[tokio::test]
async fn a_small_file_is_read_completely_or_refused_for_its_size() {
    let Some((sshd, sftp)) = connected("").await else { return };
    for size in [0, 1, 65_536, 200_000] {
        fs::write(sshd.path("small"), content(size)).unwrap();
        assert!(sftp.read_small(&sshd.remote("small"), 200_000).await.unwrap() == content(size), "{size}");
    }
    let error = sftp.read_small(&sshd.remote("small"), 199_999).await.unwrap_err();
    assert!(matches!(error, SftpError::TooBig { limit: 199_999, .. }), "{error}");
    // Its reported size is 0, but it is not empty.
    assert!(!sftp.read_small("/proc/self/status", 100_000).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_directory_is_listed_without_unsafe_names() {
    let Some((sshd, sftp)) = connected("").await else { return };
    let dir = sshd.path("set");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("file"), "12345").unwrap();
    fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("/etc/shadow", dir.join("link")).unwrap();
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"bad\xff")), "").unwrap();
    fs::write(dir.join("two\nlines"), "").unwrap();
    let listing = sftp.list(&sshd.remote("set"), 100).await.unwrap();
    assert_eq!(listing.unsafe_names, 2);
    let seen: Vec<_> = listing.entries.iter().map(|e| (e.name.as_str(), e.stat.kind)).collect();
    assert_eq!(seen, [("file", FileKind::File), ("link", FileKind::Symlink), ("sub", FileKind::Directory)]);
    let (file, real) = (listing.entries[0].stat, fs::metadata(dir.join("file")).unwrap());
    assert_eq!((file.size, file.mode), (5, 0o640));
    assert_eq!(
        (file.uid, file.gid, file.mtime),
        (real.uid(), real.gid(), u64::try_from(real.mtime()).unwrap())
    );
    assert_eq!(sftp.read_link(&sshd.remote("set/link")).await.unwrap(), "/etc/shadow");
    assert_eq!(sftp.lstat(&sshd.remote("set/link")).await.unwrap().kind, FileKind::Symlink);
    assert_eq!(sftp.stat(&sshd.remote("set")).await.unwrap().kind, FileKind::Directory);
}

#[tokio::test]
async fn a_directory_with_too_many_entries_is_refused() {
    let Some((sshd, sftp)) = connected("").await else { return };
    fs::create_dir(sshd.path("many")).unwrap();
    for at in 0..500 {
        fs::write(sshd.path(&format!("many/{at}")), "").unwrap();
    }
    assert_eq!(sftp.list(&sshd.remote("many"), 500).await.unwrap().entries.len(), 500);
    let error = sftp.list(&sshd.remote("many"), 400).await.unwrap_err();
    assert!(matches!(error, SftpError::TooBig { limit: 400, .. }), "{error}");
}

#[tokio::test]
async fn a_read_only_login_reads_and_writes_nothing() {
    let Some(sshd) = sshd("") else { return };
    sshd.authorize("restrict,command=\"internal-sftp -R\"", "id.pub");
    fs::write(sshd.path("manifest.json"), "{}").unwrap();
    let sftp = sshd.session().await.sftp().await.unwrap();
    assert_eq!(sftp.read_small(&sshd.remote("manifest.json"), 100).await.unwrap(), b"{}");
    let file = sshd.remote("manifest.json");
    let other = sshd.remote("other");
    for error in [
        sftp.write_file(&other, b"x", 0o600).await.unwrap_err(),
        sftp.remove(&file).await.unwrap_err(),
        sftp.posix_rename(&file, &other).await.unwrap_err(),
        sftp.create_dir_all(&other, 0o700).await.unwrap_err(),
    ] {
        assert!(matches!(error, SftpError::Denied { .. } | SftpError::Unsupported { .. }), "{error:?}");
    }
    assert!(!sshd.path("other").exists());
}

#[tokio::test]
async fn writing_a_small_file_replaces_its_old_content() {
    let Some((sshd, sftp)) = connected("").await else { return };
    let path = sshd.remote("out");
    for size in [5_000_000, 10, 0] {
        sftp.write_file(&path, &content(size), 0o600).await.unwrap();
        assert!(fs::read(sshd.path("out")).unwrap() == content(size), "{size}");
    }
    assert_eq!(fs::metadata(sshd.path("out")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(sftp.can_fsync());
    assert!(sftp.fsync(&path).await.unwrap());
    assert!(sftp.fsync(&sshd.remote("")).await.unwrap(), "also for a directory");
}

#[tokio::test]
async fn only_posix_rename_replaces_an_existing_file() {
    let Some((sshd, sftp)) = connected("").await else { return };
    fs::write(sshd.path("part"), "new").unwrap();
    fs::write(sshd.path("whole"), "old").unwrap();
    let (part, whole) = (sshd.remote("part"), sshd.remote("whole"));
    let kept = sftp.rename_new(&part, &whole).await.unwrap_err();
    assert!(matches!(kept, SftpError::Exists { .. }), "{kept}");
    assert_eq!(fs::read_to_string(sshd.path("whole")).unwrap(), "old");
    sftp.posix_rename(&part, &whole).await.unwrap();
    assert_eq!(fs::read_to_string(sshd.path("whole")).unwrap(), "new");
    assert!(!sshd.path("part").exists());
    sftp.remove(&whole).await.unwrap();
    assert!(sftp.remove(&whole).await.unwrap_err().is_gone());
}

#[tokio::test]
async fn missing_directories_are_created() {
    let Some((sshd, sftp)) = connected("").await else { return };
    let path = sshd.remote("a/b/c");
    sftp.create_dir_all(&path, 0o700).await.unwrap();
    sftp.create_dir_all(&path, 0o700).await.unwrap();
    assert!(sshd.path("a/b/c").is_dir());
    fs::write(sshd.path("file"), "").unwrap();
    assert!(sftp.create_dir_all(&sshd.remote("file"), 0o700).await.is_err());
    assert!(sftp.create_dir_all(&sshd.remote("file/below"), 0o700).await.is_err());
}

#[tokio::test]
async fn the_free_space_is_that_of_the_file_system() {
    let Some((sshd, sftp)) = connected("").await else { return };
    let space = sftp.space(&sshd.remote("")).await.unwrap().unwrap();
    assert!(space.free > 0 && space.max_name == Some(255), "{space:?}");
}

#[tokio::test]
async fn the_files_of_dropped_downloads_are_closed() {
    let Some((sshd, sftp)) = connected("").await else { return };
    fs::write(sshd.path("big"), content(20_000_000)).unwrap();
    let path = sshd.remote("big");
    for _ in 0..200 {
        let mut ignore = |_: &[u8]| Ok(());
        let abandoned = sftp.download(&path, 0..20_000_000, &mut ignore);
        let _ = tokio::time::timeout(Duration::from_millis(2), abandoned).await;
    }
    assert_eq!(download(&sftp, &path, 0..100).await.unwrap(), content(100));
}

#[tokio::test]
async fn a_transfer_from_a_peer_that_stops_answering_ends_with_a_timeout() {
    let Some(sshd) = sshd("") else { return };
    fs::write(sshd.path("big"), content(50_000_000)).unwrap();
    let proxy = Proxy::to(sshd.port).unwrap();
    let timeouts = Timeouts { request: Duration::from_millis(500), ..Timeouts::default() };
    let sftp = sshd.session_at(proxy.port, &timeouts).await.sftp().await.unwrap();
    let path = sshd.remote("big");
    let mut seen = 0;
    let mut sink = |data: &[u8]| {
        seen += data.len();
        if seen > 10_000_000 {
            proxy.hold_after(Way::Down, 0);
        }
        Ok(())
    };
    let transfer = sftp.download(&path, 0..50_000_000, &mut sink);
    let error = within(Duration::from_secs(30), transfer).await.unwrap_err();
    assert!(matches!(error, SftpError::Timeout { .. }) && error.is_connection(), "{error}");
    let error = within(Duration::from_secs(30), sftp.lstat(&path)).await.unwrap_err();
    assert!(matches!(error, SftpError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_peer_is_noticed_by_unanswered_keepalives() {
    let Some(sshd) = sshd("") else { return };
    let proxy = Proxy::to(sshd.port).unwrap();
    let timeouts = Timeouts { keepalive: Duration::from_millis(200), ..Timeouts::default() };
    let session = sshd.session_at(proxy.port, &timeouts).await;
    let sftp = session.sftp().await.unwrap();
    proxy.hold_after(Way::Down, 0);
    let error = within(Duration::from_secs(30), sftp.lstat("/")).await.unwrap_err();
    assert!(matches!(error, SftpError::Disconnected { .. }), "{error}");
    assert!(error.to_string().contains("keepalives"), "{error}");
}

#[tokio::test]
async fn a_cut_connection_is_an_error_with_the_path() {
    let Some(sshd) = sshd("") else { return };
    fs::write(sshd.path("big"), content(50_000_000)).unwrap();
    let proxy = Proxy::to(sshd.port).unwrap();
    let sftp = sshd.session_at(proxy.port, &Timeouts::default()).await.sftp().await.unwrap();
    proxy.cut_after(Way::Down, 10_000_000);
    let path = sshd.remote("big");
    let mut ignore = |_: &[u8]| Ok(());
    let transfer = sftp.download(&path, 0..50_000_000, &mut ignore);
    let error = within(Duration::from_secs(30), transfer).await.unwrap_err();
    assert!(matches!(error, SftpError::Disconnected { .. }) && error.is_connection(), "{error}");
    assert!(error.to_string().contains(&path), "{error}");
    let error = within(Duration::from_secs(10), sftp.lstat(&path)).await.unwrap_err();
    assert!(matches!(error, SftpError::Disconnected { .. }), "every later request fails at once: {error}");
}

#[tokio::test]
async fn a_login_without_sftp_is_reported_as_such() {
    let Some(sshd) = sshd("") else { return };
    sshd.authorize("command=\"echo hello\"", "id.pub");
    let Err(error) = sshd.session().await.sftp().await else { panic!("SFTP over echo") };
    assert!(matches!(error, SftpError::NoSubsystem { .. }), "{error:?}");
}

#[tokio::test]
async fn without_extensions_transfers_work_and_a_rename_never_replaces_a_file() {
    let Some(sshd) = sshd("") else { return };
    // As with OpenSSH 7.4 and others: no limits, no fsync, no replacing rename, no free space.
    sshd.authorize("command=\"internal-sftp -P limits,fsync,posix-rename,statvfs\"", "id.pub");
    let sftp = sshd.session().await.sftp().await.unwrap();
    assert!(!sftp.can_fsync() && !sftp.extensions().contains_key("limits@openssh.com"));
    let path = sshd.remote("part");
    sftp.write_file(&path, &content(3_000_000), 0o600).await.unwrap();
    assert!(download(&sftp, &path, 0..3_000_000).await.unwrap() == content(3_000_000));
    assert!(!sftp.fsync(&path).await.unwrap());
    assert_eq!(sftp.space(&path).await.unwrap(), None);
    fs::write(sshd.path("whole"), "the last good copy").unwrap();
    let kept = sftp.posix_rename(&path, &sshd.remote("whole")).await.unwrap_err();
    assert!(matches!(kept, SftpError::Exists { .. }), "{kept}");
    assert_eq!(fs::read_to_string(sshd.path("whole")).unwrap(), "the last good copy");
    sftp.posix_rename(&path, &sshd.remote("new")).await.unwrap();
    assert!(!sshd.path("part").exists() && sshd.path("new").exists());
}
