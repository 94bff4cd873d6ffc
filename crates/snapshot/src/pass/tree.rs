//! At the end of the stream: traverses the tree from its root with the kept data, finds the live pages and checks them.

use super::page::pair;
use super::pages::Pages;
use super::units::{Begins, Unit};
use crate::bits::Bits;
use crate::facts::{Collector, Facts, Known};
use crate::finding::{Damage, Findings};
use crate::freelist;
use crate::meta::Meta;
use crate::page::{BUCKET_HEADER, Element, Header, Kind, Scan};

/// The maximum depth of a tree: the same as in `cursor.rs`.
const MAX_DEPTH: u32 = 32;

/// Finds the live pages, and reports what is wrong with them.
pub fn settle(mut pages: Pages, meta: &Meta, findings: &mut Findings) -> Facts {
    pages.children.sort();
    let page_count = meta.high_water.min(pages.units.len());
    let mut settler = Settler {
        pages: &pages,
        used: bits(page_count),
        page_count,
        collector: Collector::default(),
        findings: Findings::default(),
        tally: Tally::default(),
    };
    settler.run(meta);
    let Settler { collector, findings: damages, tally, .. } = settler;
    let whole = damages.is_empty();
    findings.extend(damages);
    let mut facts = collector.finish(findings);
    facts.size = meta.bytes();
    if whole {
        facts.revision = Some(tally.revision);
        facts.entries = Some(tally.entries);
        facts.revisions = Some(tally.revisions);
        facts.tombstones = Some(tally.tombstones);
    }
    facts
}

/// A set for this many pages. If the memory for it is missing, the set is empty and every page becomes a finding.
fn bits(page_count: u64) -> Bits {
    Bits::new(page_count).unwrap_or_default()
}

#[derive(Default)]
struct Tally {
    revision: u64,
    entries: u64,
    revisions: u64,
    tombstones: u64,
}

struct Settler<'p> {
    pages: &'p Pages,
    used: Bits,
    /// The number of pages that exist.
    page_count: u64,
    collector: Collector,
    findings: Findings,
    tally: Tally,
}

impl<'p> Settler<'p> {
    fn run(&mut self, meta: &Meta) {
        for page in 0..2 {
            self.used.insert(page);
        }
        let free = meta.freelist.and_then(|page| self.freelist(page, meta.high_water));
        self.tree(meta.root, Settler::buckets);
        if let Some(free) = free {
            freelist::compare(&free, &self.used, self.page_count, &mut self.findings);
        }
    }

    /// The pages in the list of free pages.
    fn freelist(&mut self, page: u64, high_water: u64) -> Option<Bits> {
        let Some(unit) = self.pages.units.get(page).filter(|_| page < self.page_count) else {
            self.findings.page(page, Damage::PastEnd);
            return None;
        };
        if unit.begins() != Begins::Freelist {
            let damage = unit.damage().unwrap_or(Damage::Kind);
            self.findings.page(page, damage);
            return None;
        }
        for page in page..=page + u64::from(unit.overflow()) {
            self.used.insert(page);
        }
        let bytes = self.pages.freelist.as_deref().unwrap_or_default();
        freelist::read(page, bytes, high_water, bits(self.page_count), &mut self.findings)
    }

    /// Traverses one tree in the order of its keys, and calls `leaf` for each leaf.
    fn tree(&mut self, root: u64, mut leaf: impl FnMut(&mut Self, u64, &'p Unit)) {
        let mut stack = vec![(root, 0)];
        while let Some((page, depth)) = stack.pop() {
            match self.enter(page, depth) {
                Err(damage) => self.findings.page(page, damage),
                Ok(unit) if unit.begins() == Begins::Branch => self.branch(page, depth, unit, &mut stack),
                Ok(unit) => leaf(self, page, unit),
            }
        }
    }

    fn enter(&mut self, page: u64, depth: u32) -> Result<&'p Unit, Damage> {
        let pages = self.pages;
        let unit = pages.units.get(page).filter(|_| page < self.page_count).ok_or(Damage::PastEnd)?;
        if let Some(damage) = unit.damage() {
            return Err(damage);
        }
        if page + u64::from(unit.overflow()) >= self.page_count {
            return Err(Damage::Overflow { pages: u64::from(unit.overflow()) + 1 });
        }
        for claimed in page..=page + u64::from(unit.overflow()) {
            if !self.used.insert(claimed) {
                return Err(Damage::Twice);
            }
        }
        if depth > MAX_DEPTH {
            return Err(Damage::Deep);
        }
        if unit.count == 0 {
            return Err(Damage::Empty);
        }
        Ok(unit)
    }

    fn branch(&mut self, page: u64, depth: u32, unit: &Unit, stack: &mut Vec<(u64, u32)>) {
        let Some(children) = u32::try_from(page).ok().and_then(|page| self.pages.children.of(page)) else {
            self.findings.page(page, Damage::Unchecked);
            return;
        };
        let from = stack.len();
        let mut sum = 0u64;
        let mut readable = true;
        for child in children {
            stack.push((child, depth + 1));
            match self.pages.units.get(child).filter(|child| child.damage().is_none()) {
                Some(unit) => sum = sum.wrapping_add(pair(child, unit.key)),
                // The child has its own finding.
                None => readable = false,
            }
        }
        if readable && sum != unit.number() {
            self.findings.page(page, Damage::ChildKeys);
        }
        if let Some(children) = stack.get_mut(from..) {
            children.reverse();
        }
    }

    /// A leaf of the root bucket, which contains the other buckets.
    fn buckets(&mut self, page: u64, unit: &Unit) {
        let Some(copy) = self.copy(page) else {
            self.findings.page(page, Damage::Unchecked);
            return;
        };
        let mut scan = Scan::leaf(unit.count);
        loop {
            let index = u16::try_from(scan.index()).unwrap_or(u16::MAX);
            let Some(Ok(element)) = scan.next(copy) else { break };
            if let Err(damage) = self.bucket(index, &element) {
                self.findings.page(page, damage);
            }
        }
    }

    fn bucket(&mut self, element: u16, entry: &Element<'_>) -> Result<(), Damage> {
        if !entry.is_bucket {
            return Err(Damage::NotABucket { element });
        }
        let truncated = Damage::Bucket { element };
        let root = entry.value.first_chunk().map(|root| u64::from_le_bytes(*root)).ok_or(truncated)?;
        let inline = entry.value.get(BUCKET_HEADER..).ok_or(truncated)?;
        let known = Known::of(entry.key);
        self.collector.begin(known);
        if root == 0 {
            return self.inline(known, element, inline);
        }
        let mut last = 0;
        self.tree(root, |settler, page, unit| {
            settler.leaf(known, page, unit, &mut last);
        });
        Ok(())
    }

    /// An inline bucket: its only page is inside its entry.
    fn inline(&mut self, known: Known, element: u16, page: &[u8]) -> Result<(), Damage> {
        let header = Header::parse(page).ok_or(Damage::Bucket { element })?;
        if header.kind() != Some(Kind::Leaf) || header.id != 0 || header.overflow != 0 {
            return Err(Damage::Bucket { element });
        }
        self.small(known, page, header.count, Some(element))
    }

    /// A leaf of one of etcd's buckets.
    fn leaf(&mut self, known: Known, page: u64, unit: &Unit, last: &mut u64) {
        self.tally.entries += u64::from(unit.count);
        if known == Known::Key {
            self.tally.revisions += u64::from(unit.count);
            if let Some(what) = unit.misfit() {
                self.findings.page(page, Damage::Revision { element: unit.extra, what });
            } else {
                self.tally.tombstones += u64::from(unit.extra);
                // Equal is valid: the changes of one transaction may need more than one page.
                if unit.number() < *last {
                    self.findings.page(page, Damage::Order);
                }
                *last = unit.number();
                self.tally.revision = *last;
            }
            return;
        }
        if unit.begins() == Begins::Buckets {
            self.findings.page(page, Damage::NestedBucket { element: unit.extra });
            return;
        }
        match self.copy(page) {
            Some(copy) => {
                self.tally.entries -= u64::from(unit.count);
                if let Err(damage) = self.small(known, copy, unit.count, None) {
                    self.findings.page(page, damage);
                }
            }
            None => self.collector.give_up(known),
        }
    }

    /// The entries of a page whose bytes are available. `within` is the element that contains an inline page.
    fn small(&mut self, known: Known, page: &[u8], count: u16, within: Option<u16>) -> Result<(), Damage> {
        let mut scan = Scan::leaf(count);
        loop {
            let index = u16::try_from(scan.index()).unwrap_or(u16::MAX);
            let place = within.unwrap_or(index);
            let element = match scan.next(page) {
                // An inline bucket must end with its last entry.
                None if within.is_some() && scan.used() != page.len() => {
                    return Err(Damage::Bucket { element: place });
                }
                None => return Ok(()),
                Some(Ok(element)) => element,
                Some(Err(fault)) => return Err(Damage::Element { element: place, fault }),
            };
            self.tally.entries += 1;
            if element.is_bucket {
                return Err(Damage::NestedBucket { element: place });
            }
            if known == Known::Key {
                self.tally.revisions += 1;
                let change = crate::change::Change::parse(element.key, element.value)
                    .map_err(|what| Damage::Revision { element: place, what })?;
                self.tally.revision = change.revision.main;
                self.tally.tombstones += u64::from(change.tombstone);
            } else {
                self.collector.entry(known, element.key, element.value, &mut self.findings);
            }
        }
    }

    fn copy(&self, page: u64) -> Option<&'p [u8]> {
        let pages = self.pages;
        u32::try_from(page).ok().and_then(|page| pages.copies.of(page))
    }
}
