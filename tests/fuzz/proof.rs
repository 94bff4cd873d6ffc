use nightshift_core::proof::Proof;

use crate::manifest::stays_inside;

/// What decodes encodes to the same proof, its file stays in the directory of proofs, and it counts for its own set alone.
pub fn proof(bytes: &[u8]) {
    let Ok(proof) = Proof::decode(bytes) else { return };
    let encoded = proof.encode().expect("a proof is valid JSON");
    assert_eq!(Proof::decode(&encoded).expect("what was encoded"), proof);
    let file = proof.file_name();
    assert!(stays_inside(&file) && !file.contains('/'), "not a file's name: {file}");
    assert!(proof.expect(&proof.set, proof.manifest).is_ok());
    let mut other = proof.set.clone();
    other.attempt = other.attempt.wrapping_add(1);
    assert!(proof.expect(&other, proof.manifest).is_err());
    assert!(!(proof.is_proved() && proof.is_accepted()));
}
