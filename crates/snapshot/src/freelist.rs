//! The list of free pages, which etcd stored up to 3.2 (bbolt, `internal/freelist`).

use crate::bits::Bits;
use crate::finding::{Damage, Findings};
use crate::page::{HEADER, Header, Kind};

/// A page's count with this value means that the real count is the first number of the list.
const MANY: u16 = u16::MAX;

/// Reads the list at `page` into `free`; `bytes` start with the page's header. `None` if it is not a valid list.
pub fn read(
    page: u64,
    bytes: &[u8],
    high_water: u64,
    mut free: Bits,
    findings: &mut Findings,
) -> Option<Bits> {
    let header = Header::parse(bytes)?;
    if header.kind() != Some(Kind::Freelist) {
        findings.page(page, Damage::Kind);
        return None;
    }
    let (mut numbers, _) = bytes.get(HEADER..).unwrap_or_default().as_chunks();
    let mut count = u64::from(header.count);
    if header.count == MANY {
        let first = numbers.split_first();
        (count, numbers) =
            first.map_or((u64::MAX, numbers), |(count, rest)| (u64::from_le_bytes(*count), rest));
    }
    let Some(numbers) = usize::try_from(count).ok().and_then(|count| numbers.get(..count)) else {
        findings.page(page, Damage::Freelist);
        return None;
    };
    for number in numbers.iter().copied().map(u64::from_le_bytes) {
        if number < 2 || number >= high_water {
            findings.page(number, Damage::FreePastEnd);
        } else if !free.insert(number) && number < free.bound() {
            findings.page(number, Damage::FreeTwice);
        }
    }
    Some(free)
}

/// Compares the list with the pages in use: each page must be in exactly one of the two.
pub fn compare(free: &Bits, used: &Bits, pages: u64, findings: &mut Findings) {
    for page in 0..pages {
        match (free.contains(page), used.contains(page)) {
            (true, true) => findings.page(page, Damage::InUseAndFree),
            (false, false) => findings.page(page, Damage::Lost),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;

    fn list(count: u16, numbers: &[u64]) -> Vec<u8> {
        let mut page = vec![0; 8];
        page.extend(0x10u16.to_le_bytes());
        page.extend(count.to_le_bytes());
        page.extend([0; 4]);
        page.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        page
    }

    fn read_list(page: &[u8]) -> (Option<Bits>, Vec<Finding>) {
        let mut findings = Findings::default();
        (read(9, page, 20, Bits::new(20).unwrap(), &mut findings), findings.kept)
    }

    #[test]
    fn a_list_is_read_in_both_forms() {
        for page in [list(2, &[5, 7]), list(MANY, &[2, 5, 7])] {
            let (free, findings) = read_list(&page);
            let free = free.unwrap();
            assert!(free.contains(5) && free.contains(7) && !free.contains(2));
            assert_eq!(findings, []);
        }
    }

    #[test]
    fn an_invalid_list_is_a_finding() {
        assert!(read_list(&list(3, &[5, 7])).0.is_none());
        assert!(read_list(&list(MANY, &[u64::MAX, 5])).0.is_none());
        assert!(read_list(&list(MANY, &[])).0.is_none());
        let twice = read_list(&list(2, &[5, 5])).1;
        assert_eq!(twice, [Finding::Page { page: 5, damage: Damage::FreeTwice }]);
        let past = read_list(&list(2, &[1, 20])).1;
        assert_eq!(past.len(), 2);
    }

    #[test]
    fn each_page_is_in_use_or_free() {
        let (mut free, mut used, mut findings) =
            (Bits::new(4).unwrap(), Bits::new(4).unwrap(), Findings::default());
        for page in 0..3 {
            used.insert(page);
        }
        free.insert(2);
        compare(&free, &used, 4, &mut findings);
        let damages = [(2, Damage::InUseAndFree), (3, Damage::Lost)];
        assert_eq!(findings.kept, damages.map(|(page, damage)| Finding::Page { page, damage }));
    }
}
