//! Reads any bytes as a stored change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightshift_snapshot::{Change, KeyValue};

fuzz_target!(|bytes: &[u8]| {
    let _ = KeyValue::parse(bytes);
    let (key, value) = bytes.split_at(bytes.len().min(18));
    if let Ok(change) = Change::parse(key, value) {
        assert!(change.content.key.len() + change.content.value.len() <= value.len());
    }
});
