#![allow(clippy::unwrap_used)]
use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    outbox: Outbox,
    sent: Outbox,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::new(dir.path().join("outbox"));
    let sent = Outbox::new(dir.path().join("sent"));
    Fixture { dir, outbox, sent }
}

fn name(text: &str) -> ArchiveName {
    text.parse().unwrap()
}

impl Fixture {
    fn publish(&self, archive: &str) -> ArchiveName {
        let mut part = self.outbox.begin(archive).unwrap();
        io::Write::write_all(&mut part.file, archive.as_bytes()).unwrap();
        self.outbox.publish(&part, &name(archive), Digest::of(archive.as_bytes()), Some("signed")).unwrap();
        name(archive)
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path().join(directory))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn remote() -> RemoteName {
    "backup".parse().unwrap()
}

fn delivery(archive: &ArchiveName, verified: Option<&str>) -> Delivery {
    Delivery {
        sha256: Digest::of(archive.to_string().as_bytes()),
        done: RangeSet::new(),
        verified: verified.map(str::to_owned),
        stored_as: None,
    }
}

#[test]
fn an_archive_is_published_with_its_checksum_and_signature() {
    let fixture = fixture();
    let archive = fixture.publish("m1_2026.11.22.tgz");
    assert_eq!(
        fixture.list("outbox"),
        ["m1_2026.11.22.tgz", "m1_2026.11.22.tgz.sha256", "m1_2026.11.22.tgz.sig"]
    );
    assert_eq!(fixture.outbox.sha256(&archive).unwrap(), Digest::of(b"m1_2026.11.22.tgz"));
    assert_eq!(fixture.outbox.signature(&archive).unwrap().unwrap(), b"signed");
    assert_eq!(fixture.outbox.archives().unwrap(), [archive]);
}

#[test]
fn an_archive_that_is_being_packed_is_not_listed_and_the_next_attempt_starts_over() {
    let fixture = fixture();
    for _ in 0..2 {
        let mut part = fixture.outbox.begin("m1_2026.11.22.tgz").unwrap();
        io::Write::write_all(&mut part.file, b"half").unwrap();
    }
    assert!(fixture.outbox.archives().unwrap().is_empty());
    assert_eq!(fs::read(fixture.dir.path().join("outbox/m1_2026.11.22.tgz.part")).unwrap(), b"half");
}

#[test]
fn archives_are_listed_oldest_first() {
    let fixture = fixture();
    for archive in ["m1_2026.11.22.2.tgz", "m1_2026.11.22.tgz", "m1_2026.11.21.tgz"] {
        fixture.publish(archive);
    }
    let names: Vec<String> = fixture.outbox.archives().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["m1_2026.11.21.tgz", "m1_2026.11.22.tgz", "m1_2026.11.22.2.tgz"]);
}

#[test]
fn the_progress_of_a_delivery_is_stored_for_each_remote() {
    let fixture = fixture();
    let archive = fixture.publish("m1_2026.11.22.tgz");
    assert!(fixture.outbox.delivery(&archive, &remote()).is_none());
    fixture.outbox.keep_delivery(&archive, &remote(), &delivery(&archive, Some("read back"))).unwrap();
    assert_eq!(fixture.outbox.delivery(&archive, &remote()).unwrap().verified.as_deref(), Some("read back"));
    assert!(fixture.outbox.delivery(&archive, &"other".parse().unwrap()).is_none());
    assert_eq!(fixture.outbox.archives().unwrap().len(), 1, "a delivery is not an archive");
}

#[test]
fn a_shipped_archive_moves_with_its_checksum_and_signature() {
    let fixture = fixture();
    let archive = fixture.publish("m1_2026.11.22.tgz");
    fixture.outbox.keep_delivery(&archive, &remote(), &delivery(&archive, Some("read back"))).unwrap();
    fixture.outbox.move_to(&fixture.sent, &archive).unwrap();
    assert!(fixture.list("outbox").is_empty());
    assert_eq!(
        fixture.list("sent"),
        ["m1_2026.11.22.tgz", "m1_2026.11.22.tgz.sha256", "m1_2026.11.22.tgz.sig"]
    );
}

#[test]
fn an_interrupted_move_is_completed() {
    let fixture = fixture();
    let archive = fixture.publish("m1_2026.11.22.tgz");
    fs::create_dir(fixture.dir.path().join("sent")).unwrap();
    let sum = "m1_2026.11.22.tgz.sha256";
    fs::rename(fixture.dir.path().join("outbox").join(sum), fixture.dir.path().join("sent").join(sum))
        .unwrap();
    fixture.outbox.move_to(&fixture.sent, &archive).unwrap();
    assert_eq!(fixture.list("sent").len(), 3);
    assert!(fixture.list("outbox").is_empty());
}

#[test]
fn removing_an_archive_leaves_the_encrypted_one_beside_it() {
    let fixture = fixture();
    let plain = fixture.publish("m1_2026.11.22.tgz");
    let encrypted = fixture.publish("m1_2026.11.22.tgz.age");
    fixture.outbox.keep_delivery(&encrypted, &remote(), &delivery(&encrypted, None)).unwrap();
    fixture.outbox.remove(&plain).unwrap();
    assert_eq!(fixture.outbox.archives().unwrap(), std::slice::from_ref(&encrypted));
    assert!(fixture.outbox.sha256(&encrypted).is_ok());
    assert!(fixture.outbox.delivery(&encrypted, &remote()).is_some());
}

#[test]
fn a_sweep_removes_what_a_crash_left_in_the_outbox_and_no_archive() {
    let fixture = fixture();
    let archive = fixture.publish("m1_2026.11.22.tgz");
    fixture.outbox.keep_delivery(&archive, &remote(), &delivery(&archive, None)).unwrap();
    fixture.outbox.begin("m1_2026.11.21.tgz").unwrap();
    let outbox = fixture.dir.path().join("outbox");
    for left in ["m1_2026.11.20.tgz.sha256", ".m1_2026.11.20.tgz.backup.delivery", ".x1.part"] {
        fs::write(outbox.join(left), b"x").unwrap();
    }
    fs::write(outbox.join("README"), b"of the operator").unwrap();
    assert_eq!(fixture.outbox.sweep().unwrap().len(), 4);
    assert_eq!(
        fixture.list("outbox"),
        [
            ".m1_2026.11.22.tgz.backup.delivery",
            "README",
            "m1_2026.11.22.tgz",
            "m1_2026.11.22.tgz.sha256",
            "m1_2026.11.22.tgz.sig"
        ]
    );
}

#[test]
fn an_archive_is_moved_to_another_file_system_too() {
    let fixture = fixture();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let (from, to) = (fixture.dir.path().join("archive.tgz"), elsewhere.path().join("archive.tgz"));
    fs::write(&from, "an archive").unwrap();
    move_file(&from, &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"an archive");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "no part is left");
    assert!(!from.exists());
}
