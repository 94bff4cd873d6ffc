//! One bit for each page of a database.

/// A set of page numbers below a bound.
#[derive(Debug, Clone, Default)]
pub struct Bits {
    words: Vec<u64>,
    bound: u64,
}

impl Bits {
    /// `bound` is the number of pages that a file really has, never one that a file only claims: it is allocated.
    pub fn new(bound: u64) -> Self {
        Self { words: vec![0; usize::try_from(bound.div_ceil(64)).unwrap_or(0)], bound }
    }

    /// Whether it is new. What is past the bound is never in the set.
    pub fn insert(&mut self, page: u64) -> bool {
        let Some((word, bit)) = self.place(page) else { return false };
        let Some(word) = self.words.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub fn contains(&self, page: u64) -> bool {
        self.place(page).is_some_and(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }

    fn place(&self, page: u64) -> Option<(usize, u64)> {
        (page < self.bound).then_some(())?;
        Some((usize::try_from(page / 64).ok()?, 1 << (page % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_new_once_and_never_past_the_bound() {
        let mut bits = Bits::new(70);
        assert!(bits.insert(69) && !bits.insert(69) && bits.contains(69));
        assert!(!bits.contains(5) && !bits.insert(70) && !bits.contains(u64::MAX));
    }
}
