//! The data that is kept for each unit of the stream: 20 bytes.

use crate::finding::{Damage, Misfit};
use crate::key_value::KeyValueError;
use crate::page::Fault;

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
