//! The reader in key order. It needs positioned reads, and finds everything that can be known of a database.

use std::{io, thread};

use crate::bits::Bits;
use crate::change::{Change, Visitor};
use crate::cursor::Cursor;
use crate::database::{Database, PageBuffer};
use crate::entry::{Bucket, Entry};
use crate::facts::{Collector, Facts, Known};
use crate::finding::{Damage, Finding, Findings};
use crate::fingerprint::Fingerprint;
use crate::freelist;
use crate::read_error::ReadError;
use crate::report::{Report, check_trailer};
use crate::source::ReadAt;
use crate::trailer::Ending;

/// Walks through a snapshot or a copied database file, and calls `visitor` for each change. In parallel, another thread hashes
/// the file. It fails only if the source or the visitor fails; damage is in the report.
///
/// A copy without a trailer and with one valid meta is not a finding: see [`Report::fingerprint`].
pub fn walk(source: &(impl ReadAt + Sync), visitor: &mut impl Visitor) -> io::Result<Report> {
    walk_and_hash(source, visitor, false)
}

/// Like [`walk`], for the `member/snap/db` of a stopped member. It has no trailer, even if its metas are those of a stream: a
/// follower that was far behind got its database from the leader, and has committed nothing since
/// (docs/facts/etcd.md#file-format).
pub fn walk_member(source: &(impl ReadAt + Sync), visitor: &mut impl Visitor) -> io::Result<Report> {
    walk_and_hash(source, visitor, true)
}

fn walk_and_hash(
    source: &(impl ReadAt + Sync),
    visitor: &mut impl Visitor,
    copy: bool,
) -> io::Result<Report> {
    let (walked, ending) = thread::scope(|scope| {
        let hashing = scope.spawn(|| Ending::of(source));
        let walked = walk_tree(source, visitor);
        let ending = hashing.join().map_err(|_| io::Error::other("the hashing thread crashed (panic)"));
        (walked, ending)
    });
    Ok(judge(walked?, ending??, copy))
}

/// Like [`walk`], for a file that was already hashed, for example while it was written: `ending` is the result of a
/// [`TrailerCheck`](crate::TrailerCheck) of the whole file.
pub fn walk_hashed(source: &impl ReadAt, ending: Ending, visitor: &mut impl Visitor) -> io::Result<Report> {
    Ok(judge(walk_tree(source, visitor)?, ending, false))
}

fn judge<S: ReadAt>(walked: Option<Walked<'_, S>>, ending: Ending, copy: bool) -> Report {
    let mut findings = Findings::default();
    let Some(Walked { database, facts, damages }) = walked else {
        check_trailer(&ending, copy, &mut findings);
        findings.push(Finding::NotAnEtcdDatabase);
        return Report::new(ending, None, Fingerprint::NotEtcd, Facts::default(), findings);
    };
    findings.extend(database.check_ending(&ending, copy));
    findings.extend(damages);
    let fingerprint = if copy { Fingerprint::Copy } else { database.fingerprint() };
    Report::new(ending, Some(database.meta().page_size), fingerprint, facts, findings)
}

struct Walked<'s, S> {
    database: Database<&'s S>,
    facts: Facts,
    damages: Findings,
}

/// `None` if it is not an etcd database.
fn walk_tree<'s, S: ReadAt>(source: &'s S, visitor: &mut impl Visitor) -> io::Result<Option<Walked<'s, S>>> {
    let database = match Database::open(source) {
        Ok(database) => database,
        Err(ReadError::Io(error)) => return Err(error),
        Err(ReadError::Damaged(_)) => return Ok(None),
    };
    let mut walker = Walker {
        database: &database,
        visitor,
        collector: Collector::default(),
        findings: Findings::default(),
        tally: Tally::default(),
    };
    walker.run()?;
    let Walker { collector, mut findings, tally, .. } = walker;
    let whole = findings.is_empty();
    let mut facts = collector.finish(&mut findings);
    facts.size = database.meta().bytes();
    if whole {
        facts.hash = Some(tally.hash);
        facts.revision = Some(tally.revision);
        facts.entries = Some(tally.entries);
        facts.revisions = Some(tally.revisions);
        facts.tombstones = Some(tally.tombstones);
    }
    Ok(Some(Walked { database, facts, damages: findings }))
}

#[derive(Default)]
struct Tally {
    hash: u32,
    revision: u64,
    entries: u64,
    revisions: u64,
    tombstones: u64,
}

struct Walker<'w, S, V> {
    database: &'w Database<S>,
    visitor: &'w mut V,
    collector: Collector,
    findings: Findings,
    tally: Tally,
}

impl<S: ReadAt, V: Visitor> Walker<'_, S, V> {
    fn run(&mut self) -> io::Result<()> {
        let mut used = Bits::new(self.database.pages())?;
        for page in 0..2 {
            used.insert(page);
        }
        let free = self.freelist(&mut used)?;
        let mut buckets = Cursor::with_seen(self.database, &self.database.root(), used);
        loop {
            let (known, bucket) = match buckets.next() {
                Ok(None) => break,
                Ok(Some(entry)) => match self.bucket(&entry) {
                    Ok(found) => found,
                    Err(error) => {
                        self.note(error)?;
                        continue;
                    }
                },
                Err(error) => {
                    self.note(error)?;
                    continue;
                }
            };
            let seen = self.entries(known, &bucket, buckets.take_seen())?;
            buckets.put_seen(seen);
        }
        if let Some(free) = free {
            freelist::compare(&free, &buckets.take_seen(), self.database.pages(), &mut self.findings);
        }
        Ok(())
    }

    /// An entry of the root bucket, which contains the other buckets.
    fn bucket(&mut self, entry: &Entry<'_>) -> Result<(Known, Bucket), ReadError> {
        if !entry.is_bucket {
            let damage = Damage::NotABucket { element: entry.at.element };
            return Err(Finding::Page { page: entry.at.page, damage }.into());
        }
        let bucket = entry.bucket()?;
        self.tally.hash = crc32c::crc32c_append(self.tally.hash, entry.key);
        let known = Known::of(entry.key);
        self.collector.begin(known);
        Ok((known, bucket))
    }

    /// All entries of one bucket.
    fn entries(&mut self, known: Known, bucket: &Bucket, seen: Bits) -> io::Result<Bits> {
        let mut cursor = Cursor::with_seen(self.database, bucket, seen);
        let mut whole = true;
        loop {
            match cursor.next() {
                Ok(Some(entry)) => self.entry(known, &entry)?,
                Ok(None) => break,
                Err(error) => {
                    whole = false;
                    self.note(error)?;
                }
            }
        }
        if !whole {
            self.collector.give_up(known);
        }
        Ok(cursor.take_seen())
    }

    fn entry(&mut self, known: Known, entry: &Entry<'_>) -> io::Result<()> {
        let element = entry.at.element;
        self.tally.hash = crc32c::crc32c_append(self.tally.hash, entry.raw);
        self.tally.entries += 1;
        if entry.is_bucket {
            self.findings.page(entry.at.page, Damage::NestedBucket { element });
        } else if known == Known::Key {
            self.tally.revisions += 1;
            match Change::parse(entry.key, entry.value) {
                Ok(change) => {
                    self.tally.revision = change.revision.main;
                    self.tally.tombstones += u64::from(change.tombstone);
                    self.visitor.change(&change, entry.at)?;
                }
                Err(what) => self.findings.page(entry.at.page, Damage::Revision { element, what }),
            }
        } else {
            self.collector.entry(known, entry.key, entry.value, &mut self.findings);
        }
        Ok(())
    }

    /// The list of free pages, if it is stored.
    fn freelist(&mut self, used: &mut Bits) -> io::Result<Option<Bits>> {
        let meta = self.database.meta();
        let Some(page) = meta.freelist else { return Ok(None) };
        let mut buffer = PageBuffer::default();
        match buffer.read(self.database, page) {
            Ok(header) => {
                for page in page..=page + u64::from(header.overflow) {
                    used.insert(page);
                }
                let free = Bits::new(self.database.pages())?;
                Ok(freelist::read(page, &buffer.bytes, meta.high_water, free, &mut self.findings))
            }
            Err(error) => self.note(error).map(|()| None),
        }
    }

    fn note(&mut self, error: ReadError) -> io::Result<()> {
        match error {
            ReadError::Io(error) => Err(error),
            ReadError::Damaged(finding) => {
                self.findings.push(finding);
                Ok(())
            }
        }
    }
}
