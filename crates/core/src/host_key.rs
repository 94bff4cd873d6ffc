//! Refused host keys, in the reasons that ssh writes.

/// Parts of the sentences about each host key that is refused: unknown, changed or revoked, or by an invalid certificate.
const SENTENCES: [&str; 2] = ["its host key ", "its host certificate "];

/// Whether this is the reason why a host's key was refused.
pub(crate) fn is_refused(reason: &str) -> bool {
    SENTENCES.iter().any(|sentence| reason.contains(sentence))
}
