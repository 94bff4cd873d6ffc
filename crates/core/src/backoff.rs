//! How long to wait before the next try, and in which order to call: spread out, yet the same each time.

use std::time::Duration;

use crate::digest::Digest;

/// Grows from `base` by doubling up to ten times of it; each pause is between half and all of that,
/// chosen by `seed`, so that hosts that failed together do not come back together.
pub fn pause(base: Duration, attempt: u32, seed: &str) -> Duration {
    let doubled = base.saturating_mul(1 << attempt.saturating_sub(1).min(8));
    let longest = doubled.min(base.saturating_mul(10));
    longest.mul_f64(0.5 + 0.5 * fraction(&format!("{seed}/{attempt}")))
}

/// A part of `most`, between nothing and all, chosen by `seed`.
pub fn jitter(most: Duration, seed: &str) -> Duration {
    most.mul_f64(fraction(seed))
}

/// Orders a peer for one caller: by a hash of both names, so that no two masters call in the same order.
pub fn order(caller: &str, peer: &str) -> Digest {
    Digest::of(format!("{caller}\0{peer}").as_bytes())
}

/// A number in 0..1 that depends on nothing but its seed.
fn fraction(seed: &str) -> f64 {
    let bytes = *Digest::of(seed.as_bytes()).as_bytes();
    let high = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_bounded_and_differ_between_hosts() {
        let base = Duration::from_secs(10);
        for attempt in 1..40 {
            let pause = pause(base, attempt, "m1");
            assert!(pause >= base / 2 && pause <= base * 10, "{attempt}: {pause:?}");
        }
        assert!(pause(base, 5, "m1") >= base * 5);
        assert_ne!(pause(base, 1, "m1"), pause(base, 1, "m2"));
        assert_eq!(pause(base, 1, "m1"), pause(base, 1, "m1"));
    }
}
