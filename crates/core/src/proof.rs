//! What was found out about a set after it was published: the result of a drill, or that an operator accepted it.
//!
//! Each proof is a file of its own in `<role>.proofs/`, written once, with a signature by the host that issued it. It is
//! valid for every copy of the set with the same manifest, on any host.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{ClusterName, HostName};
use crate::secrets::SecretsReport;
use crate::set_path::SetId;
use crate::text::{InvalidJson, Text, at_most};

/// The format that is written, and the newest one that is read.
pub const FORMAT: u32 = 1;
/// The SSHSIG namespace under which proofs are signed.
pub const NAMESPACE: &str = "nightshift-proof";
/// The ending of a proof's name, and what is added to it for its signature.
pub const EXTENSION: &str = ".json";
pub const SIGNATURE_EXTENSION: &str = ".sig";
/// The number of proofs of one set that are stored and read of one host: further ones, or those of a host that issues any
/// number, must not hide another host's.
pub const MAX_PER_HOST: usize = 20;
/// The maximum size of a proof in bytes.
pub const MAX_BYTES: u64 = 256 << 10;
/// The maximum number of comparisons, and of steps, in a proof.
const MAX_ROWS: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub format: u32,
    pub cluster: ClusterName,
    pub set: SetId,
    /// The SHA-256 of the set's manifest.
    pub manifest: Digest,
    /// The host that issued it.
    pub by: HostName,
    pub at: Timestamp,
    /// The version of nightshift that wrote it.
    pub with: Text,
    pub statement: Statement,
}

/// Why a file is not a valid proof of a set.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error("it is not valid JSON with the expected fields")]
    Shape(#[from] InvalidJson),
    #[error("it has format {0}, but this nightshift reads formats up to {FORMAT}; upgrade nightshift")]
    Newer(u32),
    #[error("it belongs to {0}")]
    OtherSet(SetId),
    #[error("it belongs to a set with another manifest than the one stored here")]
    OtherContent,
    #[error("it was issued by {0}, not by the host it came from")]
    OtherProver(HostName),
    #[error("its name is not {0}, the name of a proof by this host of this time")]
    OtherName(String),
}

/// The time in a proof's name.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The host that the name of a proof names; `None` if it is not the name of a proof. Host names contain `-` too, so that the
/// beginning alone does not identify the host.
pub fn host_in_name(name: &str) -> Option<HostName> {
    let (host, time) = name.strip_suffix(EXTENSION)?.rsplit_once('-')?;
    let digits = time.strip_suffix('Z')?.replacen('T', "", 1);
    let is_time = time.len() == "20261123T002007Z".len() && digits.len() == 14;
    if !is_time || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    host.parse().ok()
}

/// A proof as it is stored: its bytes, which must not change, and the signature of the host that issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredProof {
    pub proof: Proof,
    pub bytes: Vec<u8>,
    /// `None` in proofs of earlier versions, and if the host's key could not be used.
    pub signature: Option<String>,
}

impl StoredProof {
    /// A new proof, signed by `sign`.
    pub fn new(proof: Proof, sign: impl FnOnce(&[u8]) -> Option<String>) -> Result<Self, serde_json::Error> {
        let bytes = proof.encode()?;
        Ok(Self { signature: sign(&bytes), bytes, proof })
    }
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statement {
    Drill(DrillReport),
    /// An operator reviewed a suspicious or diverged set and marked it as good.
    Accepted {
        who: Text,
    },
}

/// The result of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReport {
    pub verdict: DrillVerdict,
    /// Why it is not proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// Which copy was restored, as text: `the vault of etcd1`, or the name of an archive.
    pub copy: Text,
    /// Which etcd programs were used, as text.
    #[serde(default)]
    pub tools: Text,
    /// The same programs, each with its hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "at_most::<MAX_ROWS, _, _>")]
    pub programs: Vec<ProgramUsed>,
    #[serde(default, deserialize_with = "at_most::<MAX_ROWS, _, _>")]
    pub compared: Vec<Comparison>,
    /// Whether the values that Kubernetes encrypted can be decrypted; `None` if the copy was not read as far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsReport>,
    #[serde(default, deserialize_with = "at_most::<MAX_ROWS, _, _>")]
    pub steps: Vec<DrillStep>,
}

/// One of etcd's programs that a drill ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramUsed {
    /// `etcd`, `etcdutl` or `etcdctl`.
    pub name: Text,
    pub version: Text,
    pub sha256: Digest,
    /// Where it is from: a path, or the container and the path in it.
    pub origin: Text,
}

/// A value in the manifest or the stored copy, and the value in the restored etcd, which must be the same; or a remark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    pub what: Text,
    pub expected: Text,
    pub found: Text,
    /// Set if there are no two values to compare; `expected` and `found` are empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<Remark>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remark {
    /// Why the values could not be compared.
    NotCompared(Text),
    /// What an operator should know.
    Note(Text),
}

impl Comparison {
    pub fn new(what: impl Into<Text>, expected: impl ToString, found: impl ToString) -> Self {
        let (expected, found) = (expected.to_string().into(), found.to_string().into());
        Self { what: what.into(), expected, found, remark: None }
    }

    pub fn not_compared(what: impl Into<Text>, reason: impl Into<Text>) -> Self {
        Self { remark: Some(Remark::NotCompared(reason.into())), ..Self::new(what, "", "") }
    }

    pub fn note(what: impl Into<Text>, note: impl Into<Text>) -> Self {
        Self { remark: Some(Remark::Note(note.into())), ..Self::new(what, "", "") }
    }

    /// Whether there were two values to compare.
    pub const fn was_compared(&self) -> bool {
        self.remark.is_none()
    }

    /// What differs, if the values were compared and are not the same.
    pub fn difference(&self) -> Option<String> {
        let Self { what, expected, found, .. } = self;
        (expected != found)
            .then(|| format!("{what}: expected {expected}, but found {found} in the restored etcd"))
    }

    /// The result for a table.
    pub fn result(&self) -> String {
        match &self.remark {
            Some(Remark::NotCompared(reason)) => format!("not compared: {reason}"),
            Some(Remark::Note(note)) => note.to_string(),
            None if self.expected == self.found => "same".to_owned(),
            None => "DIFFERS".to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillStep {
    pub name: Text,
    pub took_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrillVerdict {
    /// The copy was restored, contained what it should, and accepted a write.
    Proved,
    /// The copy cannot be restored.
    NotRestorable,
    /// The drill could not be run: no etcd binary, not enough space or memory. This does not mean that the copy is bad.
    NotProved,
}

impl DrillReport {
    /// The report of a drill that could not start.
    pub fn not_proved(copy: impl Into<Text>, reason: impl Into<Text>) -> Self {
        Self {
            verdict: DrillVerdict::NotProved,
            reason: Some(reason.into()),
            copy: copy.into(),
            tools: Text::default(),
            programs: Vec::new(),
            compared: Vec::new(),
            secrets: None,
            steps: Vec::new(),
        }
    }

    pub fn took_ms(&self) -> u64 {
        self.steps.iter().fold(0, |sum, step| sum.saturating_add(step.took_ms))
    }
}

impl DrillVerdict {
    pub const ALL: [Self; 3] = [Self::Proved, Self::NotRestorable, Self::NotProved];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::NotRestorable => "not restorable",
            Self::NotProved => "not proved",
        }
    }
}

impl fmt::Display for DrillVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Proof {
    /// The result of a drill of the set with this manifest.
    pub fn of_drill(
        cluster: ClusterName,
        set: SetId,
        manifest: Digest,
        by: HostName,
        at: Timestamp,
        report: DrillReport,
    ) -> Self {
        let with = env!("CARGO_PKG_VERSION").into();
        let statement = Statement::Drill(report);
        Self { format: FORMAT, cluster, set, manifest, by, at, with, statement }
    }

    /// `<host>-<utc>.json`.
    pub fn file_name(&self) -> String {
        format!("{}-{}{EXTENSION}", self.by, self.at.strftime(TIME))
    }

    /// The bytes as they are stored.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a proof from an untrusted source.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        let Versioned { format } = serde_json::from_slice(bytes).map_err(InvalidJson::from)?;
        if format > FORMAT {
            return Err(ProofError::Newer(format));
        }
        Ok(serde_json::from_slice(bytes).map_err(InvalidJson::from)?)
    }

    /// Refuses a proof of another set, or of a set with another manifest.
    pub fn expect(&self, set: &SetId, manifest: Digest) -> Result<(), ProofError> {
        if self.set != *set {
            return Err(ProofError::OtherSet(self.set.clone()));
        }
        if self.manifest != manifest {
            return Err(ProofError::OtherContent);
        }
        Ok(())
    }

    /// Refuses a proof under another name than its own, under which it would be read again and again.
    pub fn expect_name(&self, name: &str) -> Result<(), ProofError> {
        let own = self.file_name();
        if name == own { Ok(()) } else { Err(ProofError::OtherName(own)) }
    }

    /// The drill's result, if it is a proof of a drill.
    pub const fn drill(&self) -> Option<&DrillReport> {
        match &self.statement {
            Statement::Drill(report) => Some(report),
            Statement::Accepted { .. } => None,
        }
    }

    pub fn is_proved(&self) -> bool {
        matches!(&self.statement, Statement::Drill(report) if report.verdict == DrillVerdict::Proved)
    }

    pub fn is_accepted(&self) -> bool {
        matches!(self.statement, Statement::Accepted { .. })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn proof() -> Proof {
        Proof {
            format: FORMAT,
            cluster: "prod".parse().unwrap(),
            set: "e1/2026-11-22/etcd.2".parse().unwrap(),
            manifest: Digest::of(b"manifest"),
            by: "m1".parse().unwrap(),
            at: "2026-11-23T00:20:07Z".parse().unwrap(),
            with: "0".into(),
            statement: Statement::Drill(DrillReport {
                verdict: DrillVerdict::Proved,
                reason: None,
                copy: "the vault of m1".into(),
                tools: Text::default(),
                programs: Vec::new(),
                compared: Vec::new(),
                secrets: None,
                steps: vec![DrillStep { name: "write".into(), took_ms: 3 }],
            }),
        }
    }

    #[test]
    fn a_proof_is_valid_only_for_its_own_set_and_manifest() {
        let proof = Proof::decode(&proof().encode().unwrap()).unwrap();
        assert_eq!(proof.file_name(), "m1-20261123T002007Z.json");
        assert!(proof.is_proved() && !proof.is_accepted());
        let expect =
            |set: &str, content: &[u8]| proof.expect(&set.parse().unwrap(), Digest::of(content)).is_ok();
        assert!(expect("e1/2026-11-22/etcd.2", b"manifest"));
        assert!(!expect("e1/2026-11-22/etcd", b"manifest"));
        assert!(!expect("e1/2026-11-22/etcd.2", b"another"));
    }

    #[test]
    fn the_host_in_the_name_of_a_proof_is_the_whole_part_before_its_time() {
        let host = |name: &str| host_in_name(name).map(|host| host.to_string());
        assert_eq!(host("e2-20261123T002007Z.json").as_deref(), Some("e2"));
        assert_eq!(host("e2-a.site.test-20261123T002007Z.json").as_deref(), Some("e2-a.site.test"));
        assert_eq!(host(&proof().file_name()).as_deref(), Some("m1"));
        for bad in [
            "e2-now.json",
            "e2-20261123T002007Z.json.sig",
            "-20261123T002007Z.json",
            "e2-2026112T3002007Z.txt",
        ] {
            assert_eq!(host(bad), None, "{bad}");
        }
        assert!(proof().expect_name("m1-20261123T002007Z.json").is_ok());
        assert!(matches!(proof().expect_name("m1-20271123T002007Z.json"), Err(ProofError::OtherName(_))));
    }

    #[test]
    fn only_values_that_were_compared_are_called_the_same() {
        let rows = [
            (Comparison::new("live keys", 3, 3), "same"),
            (Comparison::new("live keys", 3, 2), "DIFFERS"),
            (Comparison::not_compared("HashKV", "compacted since"), "not compared: compacted since"),
            (Comparison::note("alarm NOSPACE", "disarmed"), "disarmed"),
        ];
        for (comparison, result) in rows {
            assert_eq!(comparison.result(), result);
            assert_eq!(comparison.difference().is_some(), result == "DIFFERS");
            assert_eq!(comparison.was_compared(), ["same", "DIFFERS"].contains(&result));
            let json = serde_json::to_string(&comparison).unwrap();
            assert_eq!(serde_json::from_str::<Comparison>(&json).unwrap(), comparison, "{json}");
            // What earlier versions of this format read and write.
            assert_eq!(json.contains("remark"), comparison.remark.is_some(), "{json}");
            assert!(json.contains("\"expected\":\"") && json.contains("\"found\":\""), "{json}");
        }
    }

    #[test]
    fn a_newer_format_and_invalid_json_are_refused() {
        assert!(matches!(Proof::decode(br#"{"format": 2, "statement": "?"}"#), Err(ProofError::Newer(2))));
        assert!(matches!(Proof::decode(b"{}"), Err(ProofError::Shape(_))));
    }
}
