#![allow(clippy::unwrap_used)]
use super::*;

struct Room {
    dir: tempfile::TempDir,
    outbox: Outbox,
    sent: Outbox,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::new(dir.path().join("outbox"));
    let sent = Outbox::new(dir.path().join("sent"));
    Room { dir, outbox, sent }
}

fn name(text: &str) -> ArchiveName {
    text.parse().unwrap()
}

impl Room {
    fn publish(&self, archive: &str) -> ArchiveName {
        let mut part = self.outbox.begin(archive).unwrap();
        io::Write::write_all(&mut part.file, archive.as_bytes()).unwrap();
        self.outbox.publish(&part, &name(archive), Digest::of(archive.as_bytes()), Some("signed")).unwrap();
        name(archive)
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path().join(folder))
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
    }
}

#[test]
fn an_archive_is_published_with_its_checksum_and_signature() {
    let room = room();
    let archive = room.publish("m1_2026.11.22.tgz");
    assert_eq!(
        room.list("outbox"),
        ["m1_2026.11.22.tgz", "m1_2026.11.22.tgz.sha256", "m1_2026.11.22.tgz.sig"]
    );
    assert_eq!(room.outbox.sha256(&archive).unwrap(), Digest::of(b"m1_2026.11.22.tgz"));
    assert_eq!(room.outbox.signature(&archive).unwrap().unwrap(), b"signed");
    assert_eq!(room.outbox.archives().unwrap(), [archive]);
}

#[test]
fn what_is_being_packed_is_no_archive_and_a_further_try_begins_anew() {
    let room = room();
    for _ in 0..2 {
        let mut part = room.outbox.begin("m1_2026.11.22.tgz").unwrap();
        io::Write::write_all(&mut part.file, b"half").unwrap();
    }
    assert!(room.outbox.archives().unwrap().is_empty());
    assert_eq!(fs::read(room.dir.path().join("outbox/m1_2026.11.22.tgz.part")).unwrap(), b"half");
}

#[test]
fn archives_are_listed_oldest_first() {
    let room = room();
    for archive in ["m1_2026.11.22.2.tgz", "m1_2026.11.22.tgz", "m1_2026.11.21.tgz"] {
        room.publish(archive);
    }
    let names: Vec<String> = room.outbox.archives().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["m1_2026.11.21.tgz", "m1_2026.11.22.tgz", "m1_2026.11.22.2.tgz"]);
}

#[test]
fn how_far_a_delivery_has_come_is_remembered_for_each_remote() {
    let room = room();
    let archive = room.publish("m1_2026.11.22.tgz");
    assert!(room.outbox.delivery(&archive, &remote()).is_none());
    room.outbox.keep_delivery(&archive, &remote(), &delivery(&archive, Some("read back"))).unwrap();
    assert_eq!(room.outbox.delivery(&archive, &remote()).unwrap().verified.as_deref(), Some("read back"));
    assert!(room.outbox.delivery(&archive, &"other".parse().unwrap()).is_none());
    assert_eq!(room.outbox.archives().unwrap().len(), 1, "it is no archive itself");
}

#[test]
fn a_shipped_archive_moves_with_what_belongs_to_it() {
    let room = room();
    let archive = room.publish("m1_2026.11.22.tgz");
    room.outbox.keep_delivery(&archive, &remote(), &delivery(&archive, Some("read back"))).unwrap();
    room.outbox.move_to(&room.sent, &archive).unwrap();
    assert!(room.list("outbox").is_empty());
    assert_eq!(room.list("sent"), ["m1_2026.11.22.tgz", "m1_2026.11.22.tgz.sha256", "m1_2026.11.22.tgz.sig"]);
}

#[test]
fn a_move_that_was_cut_short_is_finished() {
    let room = room();
    let archive = room.publish("m1_2026.11.22.tgz");
    fs::create_dir(room.dir.path().join("sent")).unwrap();
    let sum = "m1_2026.11.22.tgz.sha256";
    fs::rename(room.dir.path().join("outbox").join(sum), room.dir.path().join("sent").join(sum)).unwrap();
    room.outbox.move_to(&room.sent, &archive).unwrap();
    assert_eq!(room.list("sent").len(), 3);
    assert!(room.list("outbox").is_empty());
}

#[test]
fn removing_an_archive_leaves_the_encrypted_one_beside_it() {
    let room = room();
    let plain = room.publish("m1_2026.11.22.tgz");
    let encrypted = room.publish("m1_2026.11.22.tgz.age");
    room.outbox.keep_delivery(&encrypted, &remote(), &delivery(&encrypted, None)).unwrap();
    room.outbox.remove(&plain).unwrap();
    assert_eq!(room.outbox.archives().unwrap(), std::slice::from_ref(&encrypted));
    assert!(room.outbox.sha256(&encrypted).is_ok());
    assert!(room.outbox.delivery(&encrypted, &remote()).is_some());
}

#[test]
fn what_a_crash_left_in_the_outbox_is_swept_and_archives_stay() {
    let room = room();
    let archive = room.publish("m1_2026.11.22.tgz");
    room.outbox.keep_delivery(&archive, &remote(), &delivery(&archive, None)).unwrap();
    room.outbox.begin("m1_2026.11.21.tgz").unwrap();
    let outbox = room.dir.path().join("outbox");
    for left in ["m1_2026.11.20.tgz.sha256", ".m1_2026.11.20.tgz.backup.delivery", ".x1.part"] {
        fs::write(outbox.join(left), b"x").unwrap();
    }
    fs::write(outbox.join("README"), b"a person's").unwrap();
    assert_eq!(room.outbox.sweep().unwrap().len(), 4);
    assert_eq!(
        room.list("outbox"),
        [
            ".m1_2026.11.22.tgz.backup.delivery",
            "README",
            "m1_2026.11.22.tgz",
            "m1_2026.11.22.tgz.sha256",
            "m1_2026.11.22.tgz.sig"
        ]
    );
}
