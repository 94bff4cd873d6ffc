//! Changes to inputs: small ones, which most readers accept in part, rather than noise, which all refuse at once.

/// In the formats of text, numbers at the edges of what a reader may expect, and what ends a string, a path or a line.
const TOKENS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"255",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551616",
    b"1e999",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"../",
    b"/",
    b"\n",
    b" ",
    b"*",
    b"!",
    b"@",
    b"#",
    b"\xff",
];

pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    pub fn new(corpus: &'a [Vec<u8>]) -> Self {
        assert!(!corpus.is_empty(), "nothing to mutate");
        // Any seed but 0 gives all numbers (xorshift64).
        Self { corpus, state: 0x9E37_79B9_7F4A_7C15 }
    }

    /// One to four changes to a file of the corpus.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.any_seed().to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = at + self.below(input.len() - at + 1).min(64);
        match self.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            3 => {
                let other = self.any_seed();
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1).min(256);
                input.splice(at..end, other[from..to].iter().copied());
            }
            4 => {
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(at..end.min(at + token.len()), token.iter().copied());
            }
            5 => self.replace_number(input),
            6 => {
                // Little- and big-endian numbers of 1, 2, 4 and 8 bytes: all bits set, none, and the highest alone.
                let width = 1 << self.below(4);
                let byte = [0x00, 0xff][self.below(2)];
                input.iter_mut().skip(at).take(width).for_each(|target| *target = byte);
                if let Some(edge) = input.get_mut(at + self.below(2) * (width - 1)) {
                    *edge ^= 0x80;
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }

    /// Replaces the digits at or after a place.
    fn replace_number(&mut self, input: &mut Vec<u8>) {
        let from = self.below(input.len() + 1);
        let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|start| from + start) else {
            return;
        };
        let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let token = TOKENS[self.below(8)];
        input.splice(start..start + length, token.iter().copied());
    }

    fn any_seed(&mut self) -> &'a [u8] {
        let chosen = self.below(self.corpus.len());
        &self.corpus[chosen]
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as usize % limit
    }
}
