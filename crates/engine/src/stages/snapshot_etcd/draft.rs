//! What the set's manifest says of the snapshot, of its member, and of what speaks against either.

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::etcd_facts::{Agreement, AgreementState, EtcdFacts, SnapshotFacts};
use nightshift_core::manifest::{Item, ItemKind, Owner};
use nightshift_core::plausible;
use nightshift_core::role::Role;
use nightshift_snapshot::{Facts, Report};

use super::sight::Sight;
use crate::context::StageContext;
use crate::stages::own_set::Draft;
use nightshift_etcd::{Complaint, Taken};
use nightshift_store::StoreError;
use nightshift_store::offload;
use nightshift_store::verify;

/// Adds the snapshot to what was collected, with everything that is to be known of it.
pub fn complete(draft: &mut Draft, name: &str, sight: &Sight, taken: Taken, agreement: Option<Agreement>) {
    complain(draft, sight);
    if let Some(agreement) = &agreement {
        weigh(draft, sight, agreement);
    }
    // The snapshot comes after the files, so among those alone last night's looked gone.
    draft.vanished.retain(|path| path != name);
    draft
        .bad
        .extend(verify::findings_of(&taken.birth).into_iter().map(|finding| format!("{name}: {finding}")));
    draft.items.push(Item {
        path: name.to_owned(),
        source: format!("{}/etcdserverpb.Maintenance/Snapshot", sight.client.endpoint()),
        kind: ItemKind::File { size: taken.stored_size, sha256: taken.stored_sha256 },
        owner: Owner { uid: 0, gid: 0, user: Some("root".to_owned()), group: Some("root".to_owned()) },
        mode: 0o600,
        modified: Timestamp::now(),
        selinux: None,
        changed: false,
    });
    draft.etcd = Some(facts(sight, taken, agreement));
}

fn complain(draft: &mut Draft, sight: &Sight) {
    for complaint in &sight.member.complaints {
        match complaint {
            Complaint::Learner | Complaint::NoLeader | Complaint::Alarm(_) => {
                draft.faults.push(format!("the member {complaint}"));
            }
            _ => draft.notes.push(format!("the member {complaint}")),
        }
    }
    draft.notes.extend(sight.concerns.iter().map(|concern| format!("member {concern}")));
}

fn weigh(draft: &mut Draft, sight: &Sight, agreement: &Agreement) {
    let reason = agreement.reason.as_deref().unwrap_or("their hashes differ");
    if agreement.diverged().iter().any(|member| member.member_id == sight.member.member_id) {
        draft.diverged.push(format!("the member holds something else than the others: {reason}"));
    } else if agreement.state == AgreementState::Unknown && agreement.members.len() > 1 {
        draft.notes.push(format!("whether the members agree is unknown: {reason}"));
    }
}

fn facts(sight: &Sight, taken: Taken, agreement: Option<Agreement>) -> EtcdFacts {
    let member = &sight.member;
    EtcdFacts {
        cluster_id: taken.header.cluster_id,
        member_id: taken.header.member_id,
        member_name: member.name.clone(),
        revision: taken.header.revision,
        raft_term: taken.header.raft_term,
        version: member.version.clone(),
        learner: member.learner,
        leader: member.leader,
        alarms: member.alarms.iter().map(ToString::to_string).collect(),
        raw_size: taken.birth.length,
        raw_sha256: taken.birth.sha256.into(),
        checked: checked(&taken.birth),
        snapshot: snapshot_facts(&taken.birth.facts),
        data: None,
        agreement,
    }
}

fn checked(report: &Report) -> String {
    const WHAT: &str = "trailer, every page, every key and value, as it streamed by";
    if report.is_sound() { format!("passed: {WHAT}") } else { format!("not passed: {WHAT}") }
}

/// `None` where not all of it could be known.
fn snapshot_facts(facts: &Facts) -> Option<SnapshotFacts> {
    let compacted = facts.compacted.filter(|compacted| *compacted > 0);
    Some(SnapshotFacts {
        revision: i64::try_from(facts.revision?).ok()?,
        compacted: compacted.and_then(|compacted| i64::try_from(compacted).ok()),
        entries: facts.entries?,
        revisions: facts.revisions?,
        size: facts.size?,
    })
}

/// Compares it with the last night that counts, and says what speaks against it.
pub async fn doubt(ctx: &StageContext, draft: &mut Draft) -> Result<(), StoreError> {
    let (vault, host, night) = (ctx.vault.clone(), ctx.settings.this.clone(), ctx.night);
    let before = offload::run(move || vault.previous_copy(&host, night, Role::Etcd)).await?;
    let (Some(before), Some(now)) = (before, &draft.etcd) else { return Ok(()) };
    let Some(etcd) = &before.etcd else { return Ok(()) };
    let doubts = plausible::doubts(etcd, now, ctx.settings.etcd.suspicious_below);
    if doubts.is_empty() || !draft.bad.is_empty() {
        return Ok(());
    }
    let reason = format!("{} ({})", doubts.join("; "), before.id());
    ctx.tell(Event {
        role: Some(Role::Etcd),
        outcome: Some("suspicious"),
        reason: Some(reason.clone()),
        ..Event::error(Kind::SetSuspicious, format!("tonight's etcd snapshot is suspicious: {reason}"))
    });
    draft.suspicious.push(reason);
    Ok(())
}
