//! The sets in an archive: who signed each of them, and what keeps it from being a copy of this archive's cluster. The signature of
//! the master that packed them does not make them authentic: it proves who packed.

use std::io::{self, Write};

use nightshift_archive::{ArchivedSet, Contents, Visitor};
use nightshift_core::manifest::{Manifest, SIGNATURE_FILE};
use nightshift_core::name::ClusterName;
use nightshift_core::outcome::Grade;
use nightshift_core::signed::Signed;
use nightshift_peers::Signers;
use nightshift_store::verify::MAX_SIGNATURE_LEN;

pub struct ArchivedSets<'s> {
    signers: &'s Signers<'s>,
    cluster: Option<ClusterName>,
    /// The set whose files are being read: who signed it is known when its signature was read.
    current: Option<Current>,
    pub findings: Vec<String>,
    /// What was not checked, or cannot be used as a copy.
    pub doubts: Vec<String>,
}

struct Current {
    manifest: Manifest,
    bytes: Vec<u8>,
    signature_path: String,
    signature: Option<Signature>,
}

impl<'s> ArchivedSets<'s> {
    pub const fn new(signers: &'s Signers<'s>) -> Self {
        Self { signers, cluster: None, current: None, findings: Vec::new(), doubts: Vec::new() }
    }

    /// Checks the signature of the set that was read last.
    pub fn finish(&mut self) {
        let Some(Current { manifest, bytes, signature, .. }) = self.current.take() else { return };
        let signature = signature.map(|signature| String::from_utf8_lossy(&signature.0).into_owned());
        match self.signers.of_set(&manifest, &bytes, signature.as_deref()) {
            Signed::By(_) => {}
            refused @ Signed::Refused(_) => self.findings.push(format!("{}: {refused}", manifest.id())),
            unproved => self.doubts.push(format!("{}: {unproved}", manifest.id())),
        }
    }
}

impl Visitor for ArchivedSets<'_> {
    fn contents(&mut self, contents: &Contents) {
        self.cluster = Some(contents.cluster.clone());
        if contents.sets.is_empty() {
            self.findings.push("it contains no set".to_owned());
        }
    }

    fn set(&mut self, set: &ArchivedSet, manifest: &Manifest, bytes: &[u8]) {
        self.finish();
        if self.cluster.as_ref() != Some(&manifest.cluster) {
            self.findings.push(format!("{}: its manifest is of cluster {}", set.id, manifest.cluster));
        }
        if manifest.grade.min(set.grade) == Grade::Bad {
            self.doubts.push(format!("{}: graded bad, so it is not a copy", set.id));
        }
        self.current = Some(Current {
            manifest: manifest.clone(),
            bytes: bytes.to_vec(),
            signature_path: format!("{}/{SIGNATURE_FILE}", set.dir_name()),
            signature: None,
        });
    }

    fn file(&mut self, path: &str) -> Option<&mut dyn Write> {
        let current = self.current.as_mut().filter(|current| current.signature_path == path)?;
        Some(current.signature.insert(Signature(Vec::new())))
    }
}

/// At most as many bytes as a signature has; one that is cut is refused.
struct Signature(Vec<u8>);

impl Write for Signature {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = (MAX_SIGNATURE_LEN as usize).saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(left)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
