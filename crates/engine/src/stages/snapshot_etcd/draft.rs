//! What the set's manifest says about the snapshot and its member, and why either is doubtful.

use jiff::Timestamp;
use nightshift_core::access::Access;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::digest::Written;
use nightshift_core::etcd_facts::{Agreement, AgreementState, EtcdFacts};
use nightshift_core::manifest::{Item, ItemKind, Owner};
use nightshift_core::outcome::Grade;
use nightshift_core::plausible;
use nightshift_core::role::Role;
use nightshift_etcd::cluster::Cluster;
use nightshift_etcd::health::Problem;
use nightshift_etcd::snapshot::Taken;
use nightshift_snapshot::Report;
use nightshift_store::{StoreError, verify};

use super::view::MemberView;
use crate::context::StageContext;
use crate::stages::own_set::Draft;

/// Adds the snapshot and the facts about it to the collected files.
pub fn complete(
    draft: &mut Draft,
    name: &str,
    view: &MemberView,
    taken: Taken,
    agreement: Option<Agreement>,
) {
    add_problems(draft, view);
    if let Some(agreement) = &agreement {
        add_agreement(draft, view, agreement);
    }
    // The files were collected before the snapshot, so it was counted as missing.
    draft.vanished.retain(|path| path != name);
    draft
        .bad
        .extend(verify::findings_of(&taken.report).into_iter().map(|finding| format!("{name}: {finding}")));
    let source = format!("{}/etcdserverpb.Maintenance/Snapshot", view.client.endpoint());
    draft.items.push(item(name.to_owned(), source, taken.stored));
    draft.etcd = Some(facts(view, taken, agreement));
}

/// A file that etcd or its programs made, not one of this host's.
pub fn item(path: String, source: String, written: Written) -> Item {
    Item {
        path,
        source,
        kind: ItemKind::File { size: written.size, sha256: written.sha256 },
        owner: Owner { uid: 0, gid: 0, user: Some("root".to_owned()), group: Some("root".to_owned()) },
        mode: 0o600,
        modified: Timestamp::now(),
        selinux: None,
        access: Access::default(),
        changed: false,
    }
}

fn add_problems(draft: &mut Draft, view: &MemberView) {
    for problem in &view.member.problems {
        match problem {
            Problem::Learner | Problem::NoLeader | Problem::Alarm(_) => {
                draft.faults.push(format!("the member {problem}"));
            }
            _ => draft.notes.push(format!("the member {problem}")),
        }
    }
    draft.notes.extend(view.problems.iter().map(|problem| format!("member {problem}")));
}

fn add_agreement(draft: &mut Draft, view: &MemberView, agreement: &Agreement) {
    let reason = agreement.reason.as_deref().unwrap_or("their hashes differ");
    let own = view.member.id.to_string();
    if agreement.diverged().iter().any(|member| member.member_id == own) {
        draft.diverged.push(format!("the member has diverged from the others: {reason}"));
    } else if agreement.state == AgreementState::Unknown && agreement.members.len() > 1 {
        draft.notes.push(format!("whether the members agree is unknown: {reason}"));
    }
}

fn facts(view: &MemberView, taken: Taken, agreement: Option<Agreement>) -> EtcdFacts {
    let member = &view.member;
    EtcdFacts {
        cluster_id: taken.header.cluster_id.into(),
        member_id: taken.header.member_id.to_string().into(),
        member_name: member.name.as_str().into(),
        revision: taken.header.revision,
        raft_term: taken.header.raft_term,
        version: member.version.as_str().into(),
        learner: member.learner,
        leader: member.leader,
        alarms: member.alarms.iter().map(ToString::to_string).collect(),
        raw_size: taken.report.length,
        raw_sha256: taken.report.sha256.into(),
        checked: checked(&taken.report).into(),
        snapshot: verify::snapshot_facts(&taken.report.facts),
        data: None,
        agreement,
        service: None,
        members: view.cluster.as_ref().map(Cluster::listed).unwrap_or_default(),
    }
}

fn checked(report: &Report) -> String {
    let result = if report.is_sound() { "verified" } else { "damaged" };
    format!("{result}: trailer, every page, every key and value, checked while it streamed")
}

/// Compares the snapshot with that of the last good set, and adds why it is implausible.
pub async fn doubt(ctx: &StageContext, draft: &mut Draft) -> Result<(), StoreError> {
    let before = ctx.offload(|StageContext { vault, settings, night, .. }| {
        vault.earlier(&settings.this, *night, Role::Etcd, Grade::is_copy)
    });
    let before = before.await?;
    let (Some(before), Some(now)) = (before, &draft.etcd) else { return Ok(()) };
    let Some(etcd) = &before.etcd else { return Ok(()) };
    let doubts = plausible::doubts(etcd, now, ctx.settings.etcd.suspicious_below);
    if doubts.is_empty() || !draft.bad.is_empty() {
        return Ok(());
    }
    let reason = format!("{} ({})", doubts.join("; "), before.id());
    if let Some(plan) = ctx.restored_by() {
        draft.notes.push(format!("accepted, because etcd was restored by plan {plan}: {reason}"));
        return Ok(());
    }
    ctx.log(Event {
        role: Some(Role::Etcd),
        outcome: Some("suspicious"),
        reason: Some(reason.clone()),
        ..Event::error(Kind::SetSuspicious, format!("tonight's etcd snapshot is suspicious: {reason}"))
    });
    draft.suspicious.push(reason);
    Ok(())
}
