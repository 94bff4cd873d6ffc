//! Both readers read the same bytes, with a matching trailer: they must agree and not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightshift_snapshot::{Damage, Finding, Fingerprint, Pass, walk};
use sha2::{Digest as _, Sha256};

fuzz_target!(|bytes: &[u8]| {
    let body = &bytes[..bytes.len().saturating_sub(32)];
    let sealed = [body, &Sha256::digest(body)[..]].concat();
    let mut pass = Pass::default();
    sealed.chunks(3000).for_each(|chunk| pass.update(chunk));
    let passed = pass.finish();
    let walked = walk(&sealed, &mut ()).expect("memory can be read");
    if walked.fingerprint == Fingerprint::Copy {
        return;
    }
    if walked.is_sound() {
        assert!(passed.is_sound(), "only the pass found: {:?}", passed.findings);
    } else if passed.is_sound() {
        // Of other pages, the pass knows only the first keys and the last revisions.
        let across = |finding: &Finding| matches!(finding, Finding::Page { damage: Damage::Order, .. });
        assert!(walked.findings.iter().all(across), "only the walk found: {:?}", walked.findings);
    }
});
