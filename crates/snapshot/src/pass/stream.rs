//! Takes the units of the stream one by one, and each page once its last unit has come.

use super::pages::Pages;
use super::units::{Begins, Unit};
use super::window::{Open, fits};
use crate::meta::Meta;
use crate::page::{Header, Kind};

impl Pages {
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
}
