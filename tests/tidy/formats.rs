//! What others depend on and may not change by accident.

use std::fs;

#[test]
fn the_ids_of_audit_events_are_those_that_were_published() {
    let published =
        fs::read_to_string(source::root().join("tests/data/message-ids.txt")).expect("message-ids.txt");
    let found = differences(&published, &nightshift_core::audit::catalog());
    assert!(found.is_empty(), "{found:#?}");
}

fn differences(published: &str, catalog: &str) -> Vec<String> {
    let ids: Vec<&str> = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
    let gone = published.lines().filter(|id| !ids.contains(id));
    let gone = gone.map(|id| format!("{id} is gone: an id changes only with a changelog line"));
    let new = ids.iter().filter(|id| !published.lines().any(|known| known == **id));
    gone.chain(new.map(|id| format!("{id} is new: add it to tests/data/message-ids.txt"))).collect()
}

#[test]
fn an_id_that_is_gone_and_one_that_is_new_are_both_found() {
    assert_eq!(differences("a\nb\n", "-- b\nSubject: x\n\n-- a\n"), [""; 0]);
    assert_eq!(differences("a\n", "-- b\nSubject: x\n").len(), 2);
}
