//! The files of a kit.

use std::fs;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use nightshift_archive::StoredSet;
use nightshift_core::archive::{ALLOWED_SIGNERS, RESTORE_TEXT};
use nightshift_core::digest::HashedWriter;
use nightshift_core::proof::{DrillVerdict, ProgramUsed};
use nightshift_core::record::Record;
use nightshift_core::units;
use nightshift_etcd::container::MAX_PROGRAM;
use nightshift_etcd::kept_tools::{self, OpenTools};
use nightshift_store::open_regular;
use nightshift_store::records::Records;

use crate::context::StageContext;
use crate::stages::{by_hand, host_keys};

/// What the package installs for the program to run.
const PACKAGE: [&str; 18] = [
    "/usr/bin/nightshift",
    "/usr/lib/systemd/system/nightshift.service",
    "/usr/lib/systemd/system/nightshift-cold-copy.socket",
    "/usr/lib/systemd/system/nightshift-cold-copy@.service",
    "/usr/lib/systemd/system/nightshift-cold-copy-recover.service",
    "/usr/lib/systemd/system/nightshift-drill.socket",
    "/usr/lib/systemd/system/nightshift-drill@.service",
    "/usr/lib/systemd/system/nightshift-hook.socket",
    "/usr/lib/systemd/system/nightshift-hook@.service",
    "/usr/lib/systemd/system/nightshift-metrics.socket",
    "/usr/lib/systemd/system/nightshift-metrics@.service",
    "/usr/lib/systemd/system/nightshift-notify.socket",
    "/usr/lib/systemd/system/nightshift-notify@.service",
    "/usr/lib/systemd/system-preset/80-nightshift.preset",
    "/usr/lib/sysusers.d/nightshift.conf",
    "/usr/lib/tmpfiles.d/nightshift.conf",
    "/usr/lib/systemd/catalog/nightshift.catalog",
    "/usr/share/doc/nightshift/README.md",
];
/// The configuration that the package installs. That of this host is in its sets, which are encrypted: a command in it may contain a
/// password.
const CONFIG: (&str, &str) =
    ("/etc/nightshift/nightshift.toml", include_str!("../../../../../../config/nightshift.toml"));
/// The maximum number of nights that are searched for the last drill of this host.
const MAX_NIGHTS: usize = 30;
const PROGRAM: u32 = 0o755;
const DATA: u32 = 0o644;

pub struct Content {
    pub files: Vec<File>,
    /// What is not in it, with the reasons.
    pub lacks: Vec<String>,
}

pub struct File {
    /// Relative to the kit's top directory.
    pub path: String,
    pub mode: u32,
    /// In bytes.
    pub size: u64,
    /// At its start.
    pub source: Box<dyn ReadSeek>,
}

/// It is read twice: for its hash, and for the kit if that is another one.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

impl Content {
    fn text(&mut self, path: impl Into<String>, text: String) {
        let (size, source) = (text.len() as u64, Box::new(Cursor::new(text.into_bytes())));
        self.files.push(File { path: path.into(), mode: DATA, size, source });
    }

    fn program(&mut self, path: String, program: Result<fs::File, String>) {
        match program.and_then(|file| sized(path.clone(), PROGRAM, file)) {
            Ok(file) => self.files.push(file),
            Err(reason) => self.lacks.push(reason),
        }
    }
}

/// Blocks.
pub fn of(ctx: &StageContext, sets: &[StoredSet], etcdutl: Result<PathBuf, String>) -> Content {
    let mut content = Content { files: Vec::new(), lacks: Vec::new() };
    let texts =
        [(RESTORE_TEXT, by_hand::text(ctx, sets, None)), (ALLOWED_SIGNERS, host_keys::allowed_signers(ctx))];
    for (name, text) in texts {
        content.text(name, text);
    }
    package(&mut content, Path::new("/"));
    match drilled(ctx) {
        Some(programs) => {
            for program in programs {
                content.program(format!("etcd/{}", program.name), installed_or_kept(ctx, &program));
            }
        }
        None => content.lacks.push("etcd's programs: no drill on this host proved a copy yet".to_owned()),
    }
    content.program("restore-tools/etcdutl".to_owned(), etcdutl.and_then(|path| open(&path)));
    content
}

/// A file of the package that is not installed is named once: a host that runs the program from elsewhere has none of them.
fn package(content: &mut Content, root: &Path) {
    let mut absent = Vec::new();
    for path in PACKAGE {
        let below = path.trim_start_matches('/');
        let mode = if path.starts_with("/usr/bin/") { PROGRAM } else { DATA };
        match open(&root.join(below)).and_then(|file| sized(format!("package{path}"), mode, file)) {
            Ok(file) => content.files.push(file),
            Err(reason) => absent.push(reason),
        }
    }
    content.text(format!("package{}", CONFIG.0), CONFIG.1.to_owned());
    if let Some(first) = absent.first() {
        let more = absent.len() - 1;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        content.lacks.push(format!("files of nightshift's package: {first}{more}"));
    }
}

fn open(path: &Path) -> Result<fs::File, String> {
    open_regular(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn sized(path: String, mode: u32, file: fs::File) -> Result<File, String> {
    match file.metadata().map(|metadata| metadata.len()) {
        Ok(size) if size <= MAX_PROGRAM => Ok(File { path, mode, size, source: Box::new(file) }),
        Ok(size) => {
            Err(format!("{path} has {}, more than {}", units::bytes(size), units::bytes(MAX_PROGRAM)))
        }
        Err(error) => Err(format!("{path}: {error}")),
    }
}

/// The programs of the last drill of this host that proved a copy, before tonight's.
fn drilled(ctx: &StageContext) -> Option<Vec<ProgramUsed>> {
    let records = Records::new(ctx.settings.paths.records());
    let nights = records.nights().unwrap_or_default().into_iter().rev().filter(|night| *night < ctx.night);
    let records = nights.take(MAX_NIGHTS).filter_map(|night| records.read(night).ok().flatten());
    records.into_iter().find_map(|record| programs_of(ctx, &record)).filter(|programs| !programs.is_empty())
}

fn programs_of(ctx: &StageContext, record: &Record) -> Option<Vec<ProgramUsed>> {
    let this = &ctx.settings.this;
    let mut own = record.proofs.iter().rev();
    let proof = own.find(|proof| proof.by == *this && proof.verdict == DrillVerdict::Proved)?;
    let stored = ctx.vault.stored_proofs(&proof.set).proofs;
    let drill = stored.iter().rev().find(|stored| stored.proof.by == *this)?.proof.drill()?;
    Some(drill.programs.clone())
}

/// The program that the drill used, by its hash.
fn installed_or_kept(ctx: &StageContext, program: &ProgramUsed) -> Result<fs::File, String> {
    let failed = |error: io::Error| format!("{} of the last drill: {error}", program.name);
    let mut file = match Some(&*program.origin).filter(|origin| origin.starts_with('/')) {
        Some(path) => open(Path::new(path))?,
        None => kept(ctx, program)?,
    };
    let mut hashed = HashedWriter::new(io::sink());
    io::copy(&mut BufReader::with_capacity(256 << 10, (&file).take(MAX_PROGRAM)), &mut hashed)
        .map_err(failed)?;
    if hashed.finish().1.sha256 != program.sha256 {
        return Err(format!("{} of the last drill: {} has other content now", program.name, program.origin));
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}

fn kept(ctx: &StageContext, program: &ProgramUsed) -> Result<fs::File, String> {
    let OpenTools { tools, etcd, restorer } =
        kept_tools::open(&ctx.settings.paths.state, Some(&program.version))
            .ok_or_else(|| format!("{} of the last drill: it is not kept any more", program.name))?;
    Ok(if tools.etcd.name.as_str() == &*program.name { etcd } else { restorer })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::digest::Digest;
    use nightshift_core::outcome::Grade;
    use nightshift_core::proof::Statement;
    use nightshift_core::record::{Line, ProofReport};
    use nightshift_core::role::Role;
    use nightshift_core::stage::Stage;
    use nightshift_core::{fixtures, set_path::SetId};

    use super::*;
    use crate::testing;

    #[test]
    fn the_programs_of_this_hosts_last_drill_are_in_the_kit_while_they_are_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("m1", Role::Master)]);
        let ctx = testing::context(settings, "2026-11-23", Stage::ShipArchive);
        let set: SetId = "e1/2026-11-22/etcd".parse().unwrap();
        testing::publish(&ctx.vault, &set, Grade::Good);
        let etcd = dir.path().join("etcd");
        fs::write(&etcd, "etcd").unwrap();
        let used = ProgramUsed {
            name: "etcd".into(),
            version: "3.4.23".into(),
            sha256: Digest::of(b"etcd"),
            origin: etcd.to_str().unwrap().into(),
        };
        let manifest = ctx.vault.manifest_digest(&set).unwrap();
        let mut proof = fixtures::proof(&set, manifest, DrillVerdict::Proved);
        proof.by = "m1".parse().unwrap();
        let Statement::Drill(drill) = &mut proof.statement else { panic!() };
        drill.programs = vec![used];
        testing::put_proof(&ctx.vault, proof.clone());
        let lines = include_str!("../../../../../core/src/record/format_1.jsonl").lines();
        let lines: Vec<Line> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        let record = Record::from_lines(lines).unwrap();
        let proofs = vec![ProofReport::of(&proof).unwrap()];
        let record = Record { night: "2026-11-22".parse().unwrap(), proofs, ..record };
        fs::create_dir_all(ctx.settings.paths.records()).unwrap();
        Records::new(ctx.settings.paths.records()).close(&record).unwrap();

        let mut content = of(&ctx, &[], Err("none".to_owned()));
        let file = content.files.iter_mut().find(|file| file.path == "etcd/etcd").unwrap();
        let mut bytes = String::new();
        file.source.read_to_string(&mut bytes).unwrap();
        assert_eq!((&*bytes, file.mode), ("etcd", 0o755));
        fs::write(&etcd, "another etcd").unwrap();
        let content = of(&ctx, &[], Err("none".to_owned()));
        assert!(content.files.iter().all(|file| file.path != "etcd/etcd"));
        assert!(
            content.lacks.iter().any(|lacks| lacks.contains("has other content now")),
            "{:?}",
            content.lacks
        );
    }

    #[test]
    fn the_kit_has_what_the_package_installs_and_names_what_is_absent() {
        let packaged = include_str!("../../../../../../packaging/nfpm.yaml");
        // What only documents the program, completes its name or is read by other programs is in the package alone.
        let without = [
            "/usr/share/man/",
            "completion",
            "/site-functions/",
            "/usr/share/licenses/",
            "/usr/share/doc/",
            "/usr/share/nightshift/",
        ];
        let installed =
            packaged.lines().filter_map(|line| line.split_once("dst: ")?.1.split([',', ' ']).next());
        for path in installed.filter(|path| !without.iter().any(|part| path.contains(part))) {
            assert!(
                PACKAGE.contains(&path) || path == CONFIG.0,
                "{path} is in the package and not in the kit"
            );
        }

        let root = tempfile::tempdir().unwrap();
        let mut content = Content { files: Vec::new(), lacks: Vec::new() };
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        fs::write(root.path().join("usr/bin/nightshift"), "program").unwrap();
        package(&mut content, root.path());
        let [file, config] = &content.files[..] else { panic!() };
        assert_eq!(config.path, "package/etc/nightshift/nightshift.toml");
        assert_eq!((&*file.path, file.mode, file.size), ("package/usr/bin/nightshift", 0o755, 7));
        let [lacks] = &content.lacks[..] else { panic!("{:?}", content.lacks) };
        assert!(lacks.contains("nightshift.service") && lacks.ends_with(" and 16 more"), "{lacks}");
    }
}
