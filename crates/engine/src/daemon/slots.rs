//! The control clients at the same time: one user cannot use up the slots of the others, and root always gets one.

/// The maximum number of clients at the same time. `run --wait` uses a slot until its stages have ended.
pub(super) const MAX_CLIENTS: usize = 32;
/// The slots that only root can use.
const RESERVED_FOR_ROOT: usize = 2;
/// The slots of one user other than root.
const MAX_OF_USER: usize = 8;

/// Why a client of this user gets no slot; `connected` are the users of those that have one.
pub(super) fn refusal(uid: u32, connected: &[u32]) -> Option<String> {
    let own = connected.iter().filter(|of| **of == uid).count();
    if uid != 0 && own >= MAX_OF_USER {
        return Some(format!(
            "the daemon is busy: this user has {own} requests open, which is the maximum; end one of them, such as a `nightshift run --wait`"
        ));
    }
    let slots = if uid == 0 { MAX_CLIENTS } else { MAX_CLIENTS - RESERVED_FOR_ROOT };
    (connected.len() >= slots)
        .then(|| format!("the daemon is busy: {} requests are open; try again later", connected.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_has_a_few_slots_and_root_has_two_that_no_other_user_gets() {
        let many = vec![1000; 8];
        assert!(refusal(1000, &many).is_some_and(|reason| reason.contains("this user has 8 requests")));
        assert_eq!(refusal(1000, &many[1..]), None);
        assert_eq!(refusal(1001, &many), None);
        let full: Vec<u32> = (1000..1030).collect();
        assert!(refusal(1, &full).is_some_and(|reason| reason.contains("30 requests are open")));
        assert_eq!(refusal(0, &full), None);
        let all: Vec<u32> = full.into_iter().chain([0, 0]).collect();
        assert!(refusal(0, &all).is_some());
    }
}
