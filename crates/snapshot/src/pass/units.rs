//! The data that is kept for each unit of the stream: 20 bytes.

use crate::finding::{Damage, Misfit};
use crate::key_value::KeyValueError;
use crate::meta::{Meta, MetaError};
use crate::page::{Fault, Header, Kind};

use super::children::Children;
use super::copies::Copies;
use super::window::{Open, Window, fits};

/// What starts at a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// Its page number is another one: `number`.
    Elsewhere,
    /// The header has invalid flags: `extra`.
    NoKind,
    /// A page that claims `number` pages, which is too many.
    TooLong,
    Meta,
    Freelist,
    /// A branch. `number` is a hash of its children and their keys.
    Branch,
    /// A leaf with only changes. `number` is the main revision of the last one, `extra` the number of deletions.
    Changes,
    /// A leaf whose entry `extra` is not a change; `number` is the reason.
    Entries,
    /// A leaf with buckets; the first one is entry `extra`.
    Buckets,
    /// A page whose element `extra` is invalid; `number` is the reason.
    Faulty,
    /// A page whose content needs another number of pages than `number`.
    Misfitting,
    /// A branch whose children start with other keys.
    Stray,
    /// It could not be checked.
    Unchecked,
}

#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Low half, high half: a u64 would need four more bytes, for its alignment.
    pub(super) number: [u32; 2],
    /// The CRC-32C of the first key.
    pub key: u32,
    /// The upper bits are `Begins`.
    pub(super) overflow: u32,
    pub count: u16,
    pub extra: u16,
}

/// `Begins` is in the upper bits of the overflow; real overflows are much smaller.
const SHIFT: u32 = 28;
const KINDS: [Begins; 13] = [
    Begins::Elsewhere,
    Begins::NoKind,
    Begins::TooLong,
    Begins::Meta,
    Begins::Freelist,
    Begins::Branch,
    Begins::Changes,
    Begins::Entries,
    Begins::Buckets,
    Begins::Faulty,
    Begins::Misfitting,
    Begins::Stray,
    Begins::Unchecked,
];

impl Unit {
    pub fn new(begins: Begins, number: u64) -> Self {
        let overflow = (begins as u32) << SHIFT;
        Self { number: [number as u32, (number >> 32) as u32], key: 0, overflow, count: 0, extra: 0 }
    }

    pub fn with_overflow(self, overflow: u32) -> Self {
        Self { overflow: self.overflow | overflow & ((1 << SHIFT) - 1), ..self }
    }

    pub fn begins(&self) -> Begins {
        KINDS.get((self.overflow >> SHIFT) as usize).copied().unwrap_or(Begins::Unchecked)
    }

    pub fn overflow(&self) -> u32 {
        self.overflow & ((1 << SHIFT) - 1)
    }

    pub fn number(&self) -> u64 {
        u64::from(self.number[0]) | u64::from(self.number[1]) << 32
    }

    /// What is wrong with a unit at which a live page should start.
    pub fn damage(&self) -> Option<Damage> {
        Some(match self.begins() {
            Begins::Elsewhere => Damage::Id { found: self.number() },
            Begins::NoKind => Damage::Flags(self.extra),
            Begins::TooLong => Damage::Overflow { pages: self.number() },
            Begins::Meta | Begins::Freelist => Damage::Kind,
            Begins::Faulty => Damage::Element { element: self.extra, fault: *pick(&FAULTS, self.number())? },
            Begins::Misfitting => Damage::Size { pages: self.number() },
            Begins::Stray => Damage::ChildKeys,
            Begins::Unchecked => Damage::Unchecked,
            Begins::Branch | Begins::Changes | Begins::Entries | Begins::Buckets => return None,
        })
    }

    /// Why an entry is not a change.
    pub fn misfit(&self) -> Option<Misfit> {
        match self.begins() {
            Begins::Entries | Begins::Buckets => pick(&MISFITS, self.number()).copied(),
            _ => None,
        }
    }
}

const FAULTS: [Fault; 5] = [Fault::Bounds, Fault::Position, Fault::NoKey, Fault::Flags, Fault::Order];
const MISFITS: [Misfit; 11] = [
    Misfit::NotARevision,
    Misfit::KeyValue(KeyValueError::Cut),
    Misfit::KeyValue(KeyValueError::Number),
    Misfit::KeyValue(KeyValueError::Type),
    Misfit::KeyValue(KeyValueError::NoField),
    Misfit::NoKey,
    Misfit::LongKey,
    Misfit::ModRevision,
    Misfit::CreateRevision,
    Misfit::Version,
    Misfit::Tombstone,
];

fn pick<T>(of: &[T], number: u64) -> Option<&T> {
    of.get(usize::try_from(number).ok()?)
}

pub fn fault_number(fault: Fault) -> u64 {
    FAULTS.iter().position(|known| *known == fault).unwrap_or(0) as u64
}

pub fn misfit_number(misfit: Misfit) -> u64 {
    MISFITS.iter().position(|known| *known == misfit).unwrap_or(0) as u64
}

/// Units in blocks that are never moved, so growing needs no memory for a copy.
#[derive(Debug, Default)]
pub struct Units {
    blocks: Vec<Vec<Unit>>,
    length: u64,
}

const BLOCK: usize = 4096;

impl Units {
    pub fn push(&mut self, unit: Unit) {
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(unit);
            self.length += 1;
        }
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn get(&self, number: u64) -> Option<&Unit> {
        let number = usize::try_from(number).ok()?;
        self.blocks.get(number / BLOCK)?.get(number % BLOCK)
    }

    pub fn set(&mut self, number: u64, unit: Unit) {
        let Ok(number) = usize::try_from(number) else { return };
        if let Some(place) =
            self.blocks.get_mut(number / BLOCK).and_then(|block| block.get_mut(number % BLOCK))
        {
            *place = unit;
        }
    }
}

/// The maximum number of units: 32 GiB with pages of 4 KiB, four times the size that etcd recommends at most. They need 160 MiB
/// of memory. The number of pages in a meta cannot be trusted, so there must be a limit.
pub const MAX_UNITS: u64 = 8 << 20;

/// The data that is kept of all pages.
#[derive(Debug)]
pub struct Pages {
    pub page_size: u32,
    pub metas: [Result<Meta, MetaError>; 2],
    /// The page numbers in the headers of the metas.
    pub meta_ids: [u64; 2],
    pub units: Units,
    /// The maximum number of units.
    pub max_units: u64,
    pub children: Children,
    pub copies: Copies,
    /// The list of free pages that the meta refers to, including its header.
    pub freelist: Option<Vec<u8>>,
    window: Window,
    /// At how many bytes of branches stale ones are dropped.
    pub review_at: usize,
    pub scratch: Vec<u8>,
}

impl Pages {
    pub fn new(page_size: u32) -> Self {
        Self {
            page_size,
            metas: [Err(MetaError::Short); 2],
            meta_ids: [0, 1],
            units: Units::default(),
            max_units: MAX_UNITS,
            children: Children::default(),
            copies: Copies::default(),
            freelist: None,
            window: Window::default(),
            review_at: 8 << 20,
            scratch: Vec::new(),
        }
    }

    /// Processes the next unit of the stream.
    pub fn unit(&mut self, bytes: &[u8]) {
        let number = self.units.len();
        let header = Header::parse(bytes).unwrap_or(Header { id: u64::MAX, flags: 0, count: 0, overflow: 0 });
        if let Some(place) = usize::try_from(number).ok().filter(|number| *number < 2) {
            self.metas[place] = Meta::parse(bytes);
            self.meta_ids[place] = header.id;
            self.units.push(Unit::new(Begins::Meta, 0));
            return;
        }
        // Units past the used pages are ignored; the file's length includes them.
        if number >= self.meta().map_or(0, |meta| meta.high_water).min(self.max_units) {
            return;
        }
        let unit = self.classify(number, &header, bytes);
        self.units.push(unit);
        self.window.take(bytes);
        while let Some(page) = self.window.close(number) {
            let window = std::mem::take(&mut self.window);
            let bytes = window.bytes(page, self.page_size);
            let unit = self.whole(page.first, bytes);
            self.units.set(page.first, unit);
            self.window = window;
        }
        self.window.trim(self.page_size);
    }

    /// Classifies a unit by its header and, if the page has only this unit, by its content.
    fn classify(&mut self, number: u64, header: &Header, bytes: &[u8]) -> Unit {
        if header.id != number {
            return Unit::new(Begins::Elsewhere, header.id);
        }
        let Some(kind) = header.kind() else {
            return Unit { extra: header.flags, ..Unit::new(Begins::NoKind, 0) };
        };
        let pages = u64::from(header.overflow) + 1;
        let meta = self.meta();
        let high_water = meta.map_or(u64::MAX, |meta| meta.high_water);
        if pages > high_water.saturating_sub(number) || !fits(header.overflow, self.page_size) {
            return Unit::new(Begins::TooLong, pages);
        }
        match kind {
            Kind::Meta => return Unit::new(Begins::Meta, 0),
            // There may be several old lists of free pages; only the one in the meta is used.
            Kind::Freelist if meta.is_none_or(|meta| meta.freelist != Some(number)) => {
                return Unit::new(Begins::Freelist, 0).with_overflow(header.overflow);
            }
            Kind::Freelist | Kind::Branch | Kind::Leaf => {}
        }
        if header.overflow == 0 {
            self.whole(number, bytes)
        } else if self.window.open(Open { first: number, overflow: header.overflow }) {
            // Provisional, until the page's last unit was read.
            Unit::new(Begins::TooLong, pages)
        } else {
            Unit::new(Begins::Unchecked, 0)
        }
    }

    /// The current meta. Both metas are at the start of the stream.
    pub fn meta(&self) -> Option<Meta> {
        Meta::newer(self.metas[0], self.metas[1])
    }
}
