use jiff::Timestamp;
use nightshift_core::hint::Hint;

/// What decodes encodes to the same hint, and can be compared with this host's at any time.
pub fn hint(bytes: &[u8]) {
    let Ok(hint) = serde_json::from_slice::<Hint>(bytes) else { return };
    let encoded = serde_json::to_vec_pretty(&hint).expect("a hint is valid JSON");
    assert_eq!(serde_json::from_slice::<Hint>(&encoded).expect("what was encoded"), hint);
    assert!(hint.oddities(&hint, hint.at).is_empty(), "it differs from itself");
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        assert!(hint.oddities(&hint, now).len() <= 1, "only the time differs");
    }
}
