use std::collections::BTreeSet;

use nightshift_core::outcome::Verdict;
use nightshift_core::record::{Line, Record};
use nightshift_core::summary::judge;

/// An open record, line by line, and a closed one: what decodes encodes to the same, and has one result.
pub fn record(bytes: &[u8]) {
    let lines =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let lines: Vec<Line> = lines.collect();
    for line in &lines {
        let encoded = serde_json::to_vec(line).expect("a line is valid JSON");
        assert!(!encoded.contains(&b'\n'), "more than one line");
        assert_eq!(serde_json::from_slice::<Line>(&encoded).expect("what was encoded"), *line);
    }
    if let Some(open) = Record::from_lines(lines) {
        let sets: BTreeSet<_> = open.sets.iter().map(|report| &report.set).collect();
        assert_eq!(sets.len(), open.sets.len(), "a set has two reports");
        keeps_its_value(&open);
    }
    if let Ok(closed) = serde_json::from_slice::<Record>(bytes) {
        keeps_its_value(&closed);
    }
}

fn keeps_its_value(record: &Record) {
    let encoded = serde_json::to_vec_pretty(record).expect("a record is valid JSON");
    let decoded: Record = serde_json::from_slice(&encoded).expect("what was encoded");
    assert_eq!(decoded, *record);
    let judgement = judge(record);
    assert!(judgement.verdict == Verdict::Complete || !judgement.reasons.is_empty(), "no reason");
}
