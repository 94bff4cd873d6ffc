//! What is kept of each unit of the stream: twenty bytes.

use crate::finding::{Damage, Misfit};
use crate::key_value::KeyValueError;
use crate::meta::{Meta, MetaError};
use crate::page::{Fault, Header, Kind};

use super::children::Children;
use super::copies::Copies;
use super::window::{Open, Window, fits};

/// What a unit turned out to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// No page that lies where it says. `number` is what it says.
    Elsewhere,
    /// A header of no kind; `extra` holds the flags.
    NoKind,
    /// A page that claims `number` pages, which is too many.
    TooLong,
    Meta,
    Freelist,
    /// `number` is a sum over its children and the keys that it knows them by.
    Branch,
    /// All its entries are changes. `number` is the main revision of the last, `extra` how many are deletions.
    Changes,
    /// Its entry `extra` is no change: `number` says why.
    Entries,
    /// It holds buckets, the first of them as entry `extra`.
    Buckets,
    /// Its element `extra` is at fault: `number` says why.
    Faulty,
    /// It holds what needs another number of pages than the `number` it has.
    Misfitting,
    /// A branch whose children begin with other keys.
    Stray,
    /// It could not be looked into.
    Unchecked,
}

#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Low half, high half: as one u64 it would cost four bytes more.
    pub(super) number: [u32; 2],
    /// The sum of the first key.
    pub key: u32,
    /// With what it begins in its upper bits.
    pub(super) overflow: u32,
    pub count: u16,
    pub extra: u16,
}

/// `Begins` lies in the upper bits of the overflow: a page's is far below.
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

    /// What is wrong with a unit that a page should begin in.
    pub fn damage(&self) -> Option<Damage> {
        Some(match self.begins() {
            Begins::Elsewhere => Damage::Id { says: self.number() },
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

    /// Why an entry is no change.
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

/// Units in blocks that never move: growing takes no more memory than it adds.
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

/// No more pages are kept track of: those of 32 GiB, four times what etcd recommends at most. The units of so many
/// take 160 MiB, and how many a meta claims is whoever made it's word.
pub const MOST_UNITS: u64 = 8 << 20;

/// All that is kept of the pages that came by.
#[derive(Debug)]
pub struct Pages {
    pub page_size: u32,
    pub metas: [Result<Meta, MetaError>; 2],
    /// Which pages the metas say that they are.
    pub meta_ids: [u64; 2],
    pub units: Units,
    /// How many units are kept.
    pub most: u64,
    pub children: Children,
    pub copies: Copies,
    /// The list of free pages that the meta names, its header included.
    pub freelist: Option<Vec<u8>>,
    window: Window,
    /// Branches are held against their children when so many bytes of them are kept.
    pub weed_at: usize,
    pub scratch: Vec<u8>,
}

impl Pages {
    pub fn new(page_size: u32) -> Self {
        Self {
            page_size,
            metas: [Err(MetaError::Short); 2],
            meta_ids: [0, 1],
            units: Units::default(),
            most: MOST_UNITS,
            children: Children::default(),
            copies: Copies::default(),
            freelist: None,
            window: Window::default(),
            weed_at: 8 << 20,
            scratch: Vec::new(),
        }
    }

    /// Takes the next unit of the stream.
    pub fn unit(&mut self, bytes: &[u8]) {
        let number = self.units.len();
        let header = Header::parse(bytes).unwrap_or(Header { id: u64::MAX, flags: 0, count: 0, overflow: 0 });
        if let Some(place) = usize::try_from(number).ok().filter(|number| *number < 2) {
            self.metas[place] = Meta::parse(bytes);
            self.meta_ids[place] = header.id;
            self.units.push(Unit::new(Begins::Meta, 0));
            return;
        }
        // What no page in use can lie in is only counted, by the length of the whole.
        if number >= self.meta().map_or(0, |meta| meta.high_water).min(self.most) {
            return;
        }
        let unit = self.first_look(number, &header, bytes);
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

    /// What a unit is by its header, and by the rest where it is a page of its own.
    fn first_look(&mut self, number: u64, header: &Header, bytes: &[u8]) -> Unit {
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
            // Of the lists of free pages that lie about, one counts.
            Kind::Freelist if meta.is_none_or(|meta| meta.freelist != Some(number)) => {
                return Unit::new(Begins::Freelist, 0).with_overflow(header.overflow);
            }
            Kind::Freelist | Kind::Branch | Kind::Leaf => {}
        }
        if header.overflow == 0 {
            self.whole(number, bytes)
        } else if self.window.open(Open { first: number, overflow: header.overflow }) {
            // Until its end has come.
            Unit::new(Begins::TooLong, pages)
        } else {
            Unit::new(Begins::Unchecked, 0)
        }
    }

    /// The meta that counts, by the metas seen so far: both come first.
    pub fn meta(&self) -> Option<Meta> {
        Meta::newer(self.metas[0], self.metas[1])
    }
}
