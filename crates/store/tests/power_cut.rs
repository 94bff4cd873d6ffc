//! What the store has reported as done is there, and whole, after a power cut.
//!
//! A build with `--cfg nightshift_no_sync` syncs nothing: there every one of these tests must fail, and `cargo xtask test`
//! makes sure that it does.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nightshift_core::access::Access;
use nightshift_core::archive::ArchiveName;
use nightshift_core::digest::{Digest, HashedWriter, Written};
use nightshift_core::fixtures;
use nightshift_core::manifest::{Item, ItemKind, Owner};
use nightshift_core::night::Night;
use nightshift_core::outcome::{Grade, Verdict};
use nightshift_core::proof::{DrillVerdict, StoredProof};
use nightshift_core::record::{StartReason, Step};
use nightshift_core::set_path::SetId;
use nightshift_core::signed::Signed;
use nightshift_core::stage::Stage;
use nightshift_store::outbox::{Delivery, Outbox};
use nightshift_store::records::Records;
use nightshift_store::verify::{Hashed, verify_set};
use nightshift_store::{Vault, hash_file, sync_file};

/// An ext4 file system in a file.
struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    /// A new one; `None`, with the reason printed, where this user or machine cannot mount it.
    fn new() -> Option<Self> {
        let disk = Self { directory: tempfile::tempdir().unwrap() };
        fs::File::create(disk.image()).unwrap().set_len(64 << 20).unwrap();
        let made = run("mkfs.ext4", &["-q", "-F"], &[&disk.image()]).and_then(|()| disk.mount());
        let Err(reason) = made else { return Some(disk) };
        let required = std::env::var("NIGHTSHIFT_LAB").is_ok_and(|value| value == "required");
        assert!(!required, "this test has to run here, and cannot: {reason}");
        println!("skipped: {reason}");
        None
    }

    /// The disk as a power cut leaves it: without what was only in memory. The other one stays mounted, because to unmount
    /// it would write that.
    fn cut(&self) -> Self {
        let disk = Self { directory: tempfile::tempdir().unwrap() };
        run("cp", &["--sparse=always"], &[&self.image(), &disk.image()]).unwrap();
        disk.mount().unwrap();
        disk
    }

    fn mount(&self) -> Result<(), String> {
        fs::create_dir(self.root()).unwrap();
        // No commit by a timer: what was not synced must not reach the disk by chance.
        run("mount", &["-o", "loop,commit=600"], &[&self.image(), &self.root()])
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn vault(&self) -> Vault {
        Vault::new(self.root().join("vault"))
    }

    fn records(&self) -> Records {
        Records::new(self.root().join("records"))
    }

    fn outbox(&self) -> Outbox {
        Outbox::new(self.root().join("outbox"))
    }

    fn sent(&self) -> Outbox {
        Outbox::new(self.root().join("sent"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _not_mounted = run("umount", &[], &[&self.root()]);
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).args(paths).output();
    let output = output.map_err(|error| format!("cannot run {program} ({error})"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn set() -> SetId {
    "e1/2026-11-22/etcd".parse().unwrap()
}

/// Publishes a set with a small file and one of many pages. Returns its manifest's hash.
fn publish(vault: &Vault) -> Digest {
    let partial = vault.begin(&set()).unwrap();
    let small = partial.write("etc/etcd/etcd.conf", b"ETCD_NAME=e1").unwrap();
    let mut file = HashedWriter::new(partial.create("snapshot.db.gz").unwrap());
    (0..3000_u32).for_each(|n| file.write_all(&n.to_le_bytes().repeat(256)).unwrap());
    let (file, large) = file.finish();
    sync_file(file.as_ref()).unwrap();
    let items = vec![item("etc/etcd/etcd.conf", small), item("snapshot.db.gz", large)];
    // Its snapshot is not one, so it is bad: then verifying it compares the bytes alone.
    let manifest = fixtures::manifest(&set(), Grade::Bad, items);
    partial.publish(&manifest.encode().unwrap(), Some("a signature")).unwrap()
}

fn item(path: &str, Written { size, sha256 }: Written) -> Item {
    Item {
        path: path.into(),
        source: format!("/{path}"),
        kind: ItemKind::File { size, sha256 },
        owner: Owner { uid: 0, gid: 0, user: None, group: None },
        mode: 0o600,
        modified: jiff::Timestamp::UNIX_EPOCH,
        selinux: None,
        access: Access::default(),
        changed: false,
    }
}

#[test]
fn a_published_set_survives_a_power_cut() {
    let Some(disk) = Disk::new() else { return };
    let digest = publish(&disk.vault());
    let after = disk.cut();
    let vault = after.vault();
    assert_eq!(vault.sets().unwrap(), [set()]);
    assert_eq!(vault.manifest_digest(&set()).unwrap(), digest);
    let signed = |_: &_, _: &[u8], signature: Option<&str>| match signature {
        Some("a signature") => Signed::By(set().host),
        other => Signed::Refused(format!("the signature is {other:?}")),
    };
    let verified = verify_set(&"prod".parse().unwrap(), &vault, &set(), &signed, &mut Hashed::new()).unwrap();
    assert_eq!((verified.findings, verified.files), (Vec::new(), 2));
}

#[test]
fn each_step_of_a_record_and_the_closed_record_survive_a_power_cut() {
    let Some(disk) = Disk::new() else { return };
    let night: Night = "2026-11-22".parse().unwrap();
    let log = disk.records().open(night).unwrap();
    log.note(Step::Opened {
        format: 1,
        night,
        host: "m1".parse().unwrap(),
        version: "0".into(),
        closes: "2026-11-23T03:00:00Z".parse().unwrap(),
        expected: vec![],
        stages: vec![Stage::CollectNode],
        remotes: vec![],
        restored: None,
        backup: None,
        tolerate: None,
    })
    .unwrap();
    let started = Step::Started { stage: Stage::CollectNode, attempt: 1, why: StartReason::Due };
    for step in [started, Step::Closed { verdict: Verdict::Complete, reasons: vec![] }] {
        log.note(step).unwrap();
        let after = disk.cut();
        assert_eq!(after.records().read(night).unwrap(), log.record());
    }
    disk.records().close(&log.record().unwrap()).unwrap();
    let after = disk.cut();
    assert_eq!(after.records().read(night).unwrap(), log.record());
}

#[test]
fn a_proof_survives_a_power_cut() {
    let Some(disk) = Disk::new() else { return };
    let proof = fixtures::proof(&set(), publish(&disk.vault()), DrillVerdict::Proved);
    let signed = StoredProof::new(proof, |_| Some("a signature".to_owned())).unwrap();
    disk.vault().put_proof(&signed).unwrap();
    let after = disk.cut();
    assert_eq!(after.vault().stored_proofs(&set()).proofs, [signed]);
}

#[test]
fn an_archive_survives_a_power_cut_in_the_outbox_and_in_sent() {
    let Some(disk) = Disk::new() else { return };
    let archive: ArchiveName = "m1_2026.11.22.tgz".parse().unwrap();
    let mut part = disk.outbox().begin(&archive.to_string()).unwrap();
    part.file.write_all(&b"an archive".repeat(200_000)).unwrap();
    let sha256 = hash_file(&part.path).unwrap().sha256;
    disk.outbox().publish(&part, &archive, sha256, Some("a signature")).unwrap();
    let delivery = Delivery::verified(sha256, "read back".into(), None);
    let remote = "backup".parse().unwrap();
    disk.outbox().keep_delivery(&archive, &remote, &delivery).unwrap();

    let is_whole = |outbox: Outbox| {
        assert_eq!(outbox.archives().unwrap(), std::slice::from_ref(&archive));
        assert_eq!(hash_file(&outbox.path(&archive)).unwrap().sha256, sha256);
        assert_eq!(outbox.sha256(&archive).unwrap(), sha256);
        assert_eq!(outbox.signature(&archive).unwrap().unwrap(), b"a signature");
    };
    let after = disk.cut();
    is_whole(after.outbox());
    let verified = after.outbox().delivery(&archive, &remote).unwrap().verified;
    assert_eq!(verified.as_deref(), Some("read back"));

    disk.outbox().move_to(&disk.sent(), &archive).unwrap();
    let after = disk.cut();
    is_whole(after.sent());
    assert_eq!(after.outbox().archives().unwrap(), []);
}
