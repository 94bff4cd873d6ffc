use nightshift_snapshot::{Change, Damage, Finding, Fingerprint, KeyValue, Pass, walk};
use sha2::{Digest as _, Sha256};

/// Both readers get the same database, with a matching trailer: they agree.
pub fn snapshot(bytes: &[u8]) {
    let body = &bytes[..bytes.len().saturating_sub(32)];
    let sealed = [body, &Sha256::digest(body)[..]].concat();
    let mut pass = Pass::default();
    sealed.chunks(3000).for_each(|chunk| pass.update(chunk));
    let streamed = pass.finish();
    let walked = walk(&sealed, &mut ()).expect("memory can be read");
    if walked.fingerprint == Fingerprint::Copy {
        return;
    }
    if walked.is_sound() {
        assert!(streamed.is_sound(), "only the pass found: {:?}", streamed.findings);
    } else if streamed.is_sound() {
        // Of other pages, the pass knows only the first keys and the last revisions.
        let across = |finding: &Finding| matches!(finding, Finding::Page { damage: Damage::Order, .. });
        assert!(walked.findings.iter().all(across), "only the walk found: {:?}", walked.findings);
    }
}

/// A stored change is never larger than the value it was read from.
pub fn snapshot_change(bytes: &[u8]) {
    let _any = KeyValue::parse(bytes);
    // The size of a revision, and of one with the mark of a deletion.
    for length in [17, 18] {
        let (key, value) = bytes.split_at(bytes.len().min(length));
        if let Ok(change) = Change::parse(key, value) {
            assert!(change.content.key.len() + change.content.value.len() <= value.len());
        }
    }
}
