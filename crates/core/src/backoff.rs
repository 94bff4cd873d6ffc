//! Delays between retries, and the order in which a host contacts its peers: spread out, but reproducible.

use std::time::Duration;

use crate::digest::Digest;

/// The delay before a retry. The maximum starts at `base`, doubles with each attempt and ends at ten times `base`; the
/// delay is between half and all of it, chosen by `seed`, so that hosts that failed together do not retry together.
pub fn delay(base: Duration, attempt: u32, seed: &str) -> Duration {
    let doubled = base.saturating_mul(1 << attempt.saturating_sub(1).min(8));
    let max = doubled.min(base.saturating_mul(10));
    max.mul_f64(0.5 + 0.5 * fraction(&format!("{seed}/{attempt}")))
}

/// A duration between zero and `max`, chosen by `seed`.
pub fn jitter(max: Duration, seed: &str) -> Duration {
    max.mul_f64(fraction(seed))
}

/// The sort key of a peer for one caller: a hash of both names, so that each master contacts the peers in another order
/// and a peer is not contacted by all of them at once.
pub fn order(caller: &str, peer: &str) -> Digest {
    Digest::of(format!("{caller}\0{peer}").as_bytes())
}

/// A number from 0 to 1 (exclusive), determined by its seed.
fn fraction(seed: &str) -> f64 {
    let bytes = *Digest::of(seed.as_bytes()).as_bytes();
    let high = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_are_bounded_and_differ_between_hosts() {
        let base = Duration::from_secs(10);
        for attempt in 1..40 {
            let delay = delay(base, attempt, "m1");
            assert!(delay >= base / 2 && delay <= base * 10, "{attempt}: {delay:?}");
        }
        assert!(delay(base, 5, "m1") >= base * 5);
        assert_ne!(delay(base, 1, "m1"), delay(base, 1, "m2"));
        assert_eq!(delay(base, 1, "m1"), delay(base, 1, "m1"));
    }
}
