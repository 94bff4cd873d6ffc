//! The plan that each master makes every night without acting: whether its vault would give the cluster back.

use crate::proof::DrillVerdict;
use crate::record::Record;
use crate::restorable::Restorable;
use crate::restore::Plan;
use crate::restore::finding::FindingKind;
use crate::secrets::SecretsReport;
use crate::text::Text;

/// By the plan of a night, and what the night's record has of the snapshot's drill and its encrypted values.
pub fn judge(plan: &Plan, record: Option<&Record>, secrets: Option<&SecretsReport>) -> Restorable {
    let texts = |kind: FindingKind| {
        plan.findings.iter().filter(move |finding| finding.kind == kind).map(|finding| finding.text.clone())
    };
    let mut reasons: Vec<String> = texts(FindingKind::Refused).collect();
    reasons.extend(secrets.and_then(SecretsReport::problem));
    // What is written after the snapshot is lost every night.
    let lacks = texts(FindingKind::Lost).filter(|text| !text.starts_with(super::make::AFTER_THE_SNAPSHOT));
    let mut verified = Text::default();
    if let (Some(etcd), Some(record)) = (&plan.etcd, record) {
        let set = &etcd.copy.set;
        let proofs = || record.proofs.iter().filter(|proof| proof.set == *set);
        let not = proofs().filter(|proof| proof.verdict == DrillVerdict::NotRestorable);
        reasons.extend(not.map(|proof| format!("{set} did not restore in the drill of {}", proof.by)));
        let proved = proofs().find(|proof| proof.verdict == DrillVerdict::Proved);
        verified = match proved {
            Some(proof) => format!("{set}, restored in the drill of {}", proof.by),
            None => format!("{set}, verified when it was stored, not restored in a drill"),
        }
        .into();
    }
    Restorable { reasons: reasons.into_iter().collect(), lacks: lacks.collect(), verified }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::finding::Finding;
    use crate::restore::tests::{cluster, plan};

    #[test]
    fn a_night_is_restorable_only_if_its_plan_is_not_refused_and_its_values_decrypt() {
        let (settings, sets) = cluster();
        let mut plan = plan(&settings, sets);
        let found = judge(&plan, None, None);
        assert_eq!((found.is_restorable(), found.summary().as_str()), (true, "yes"));
        plan.findings.push(Finding::lost("n2: no node set"));
        assert_eq!(judge(&plan, None, None).summary(), "yes, but: n2: no node set");
        let missing = SecretsReport {
            values: 3,
            problems: ["key \"k2\" is in no master set"].into_iter().collect(),
            ..SecretsReport::default()
        };
        let refused = judge(&plan, None, Some(&missing));
        assert_eq!(refused.summary(), "no: encrypted values: key \"k2\" is in no master set");
        plan.findings.push(Finding::refused("m1: no master set of this night"));
        let refused = judge(&plan, None, None);
        assert_eq!(refused.summary(), "no: m1: no master set of this night");
    }
}
