//! A vault with two small sets, and the tools of the system.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::Timestamp;
use nightshift_core::access::Access;
use nightshift_core::digest::Digest;
use nightshift_core::manifest::{FORMAT, Item, ItemKind, Machine, Manifest, Owner};
use nightshift_core::outcome::Grade;
use nightshift_core::set_path::SetId;
use nightshift_core::settings::Compression;
use nightshift_core::text::Lines;
use tempfile::TempDir;

use crate::{
    Contents, ListError, Listing, OwnFile, PackError, PackRequest, Packed, StoredSet, pack, visit_blocking,
};

pub const TOP: &str = "m1.x_2026.11.22";

pub struct Vault {
    pub dir: TempDir,
}

pub fn file(path: &str, bytes: &[u8]) -> (Item, Vec<u8>) {
    let kind = ItemKind::File { size: bytes.len() as u64, sha256: Digest::of(bytes) };
    (item(path, kind, 0o640), bytes.to_vec())
}

pub fn item(path: &str, kind: ItemKind, mode: u32) -> Item {
    let owner = Owner { uid: 1234, gid: 567, user: Some("etcd".into()), group: Some("etcd".into()) };
    let modified = Timestamp::from_second(1_700_000_000).unwrap();
    Item {
        path: path.into(),
        source: format!("/{path}"),
        kind,
        owner,
        mode,
        modified,
        selinux: None,
        access: Access::default(),
        changed: false,
    }
}

pub fn directory(path: &str) -> (Item, Vec<u8>) {
    (item(path, ItemKind::Directory, 0o750), Vec::new())
}

pub fn link(path: &str, target: &str) -> (Item, Vec<u8>) {
    (item(path, ItemKind::Symlink { target: target.into() }, 0o777), Vec::new())
}

/// Bytes that do not compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

impl Vault {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn set(&self, id: &str, items: Vec<(Item, Vec<u8>)>) -> StoredSet {
        let id: SetId = id.parse().unwrap();
        let directory = self.dir.path().join(id.path());
        fs::create_dir_all(&directory).unwrap();
        for (item, bytes) in &items {
            let path = directory.join(&item.path);
            match item.kind {
                ItemKind::File { .. } => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
                ItemKind::Directory => fs::create_dir_all(path).unwrap(),
                ItemKind::Symlink { .. } => {}
            }
        }
        let manifest = Manifest {
            format: FORMAT,
            cluster: "prod".parse().unwrap(),
            host: id.host.clone(),
            role: id.role,
            night: id.night,
            attempt: id.attempt,
            made_by: id.host.clone(),
            made_at: Timestamp::from_second(1_763_800_000).unwrap(),
            made_with: "0.1.0".into(),
            machine: Machine::default(),
            system: None,
            grade: Grade::Good,
            notes: Lines::default(),
            vanished: Lines::default(),
            etcd: None,
            items: items.into_iter().map(|(item, _)| item).collect(),
        };
        fs::write(directory.join("manifest.json"), manifest.encode().unwrap()).unwrap();
        fs::write(directory.join("manifest.json.sig"), "a signature").unwrap();
        StoredSet { id, directory, grade: manifest.grade, manifest }
    }

    /// An etcd set with a big snapshot and a proof, and a node set with names and links of all kinds.
    pub fn usual(&self) -> Vec<StoredSet> {
        let long = format!("etc/{}/{}", "d".repeat(120), "f".repeat(200));
        let etcd = self.set(
            "e1.x/2026-11-22/etcd",
            vec![
                file("snapshot.db.gz", &noise(1 << 20)),
                file("etc/etcd/etcd.conf", &b"ETCD_NAME=e1\n".repeat(400)),
            ],
        );
        let proofs = etcd.directory.with_file_name("etcd.proofs");
        fs::create_dir(&proofs).unwrap();
        fs::write(proofs.join("m1.x-20261123T000000Z.json"), "{}").unwrap();
        let node = self.set(
            "n1.x/2026-11-22/node",
            vec![
                file(&long, b"long"),
                file("etc/origin/node-config.yaml", b"kind: NodeConfig\n"),
                directory("etc/origin"),
                file("etc/empty", b""),
                link("etc/inside", "origin/node-config.yaml"),
                link(&format!("etc/{}", "l".repeat(150)), &format!("{}/x", "t".repeat(150))),
                link("etc/outside", "/etc/passwd"),
            ],
        );
        vec![node, etcd]
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    pub fn request(&self, sets: Vec<StoredSet>, compression: Compression) -> PackRequest {
        PackRequest {
            contents: Contents {
                format: 1,
                cluster: "prod".parse().unwrap(),
                host: "m1.x".parse().unwrap(),
                night: "2026-11-22".parse().unwrap(),
                edition: 1,
                made_at: Timestamp::from_second(1_763_850_000).unwrap(),
                made_with: "0.1.0".into(),
                sets: Vec::new(),
                missing: vec!["n2.x node: no set of tonight".into()],
                host_keys: Vec::new(),
                files: Vec::new(),
            },
            sets,
            files: vec![OwnFile { name: "RESTORE.txt", content: "How to restore\n".into() }],
            compression,
            recipients: Vec::new(),
            out: fs::File::create(self.out()).unwrap(),
        }
    }

    pub fn packed(&self, compression: Compression) -> Packed {
        pack(&self.request(self.usual(), compression), &|| false).unwrap()
    }

    pub fn pack_sets(&self, sets: Vec<StoredSet>) -> Result<Packed, PackError> {
        pack(&self.request(sets, Compression::Gzip), &|| false)
    }
}

pub fn list_bytes(bytes: &[u8], zstd: bool) -> Result<Listing, ListError> {
    let end = if zstd { ".tar.zst" } else { ".tgz" };
    visit_blocking(bytes, &format!("{TOP}{end}").parse().unwrap(), &mut ())
}

/// Says why a test cannot run here; where the whole lab is required that is a failure.
pub fn skipped(why: &str) {
    assert_ne!(std::env::var("NIGHTSHIFT_LAB").as_deref(), Ok("required"), "cannot run: {why}");
    println!("skipped: {why}");
}

pub fn have(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        skipped(&format!("no {tool} here"));
    }
    there
}

pub fn run(dir: &Path, argv: &[&str]) -> Output {
    Command::new(argv[0]).args(&argv[1..]).current_dir(dir).env("TZ", "UTC").output().unwrap()
}

pub fn run_well(dir: &Path, argv: &[&str]) -> String {
    let output = run(dir, argv);
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
