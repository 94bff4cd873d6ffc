//! Whether the members agree: compared by one host a night, and logged as an error if they do not.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::etcd_facts::Agreement;
use nightshift_core::role::Role;
use nightshift_etcd::agreement::{AgreementLimits, agreement};

use super::view::MemberView;
use crate::context::StageContext;

/// Compares all members, if that is this host's task: the first in the order whose member responds.
pub async fn compare(ctx: &StageContext, view: &MemberView) -> Option<Agreement> {
    let cluster = view.cluster.as_ref().filter(|cluster| cluster.compares(view.member.id))?;
    let agreement = agreement(cluster, AgreementLimits::default()).await;
    report(ctx, &agreement);
    Some(agreement)
}

fn report(ctx: &StageContext, agreement: &Agreement) {
    let reason = agreement.reason.clone().unwrap_or_default();
    let shown = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    tracing::info!("the etcd members' agreement is {}{shown}", agreement.state.as_str());
    let names: Vec<String> = (agreement.diverged().iter())
        .map(|member| format!("{} ({})", member.name, member.member_id))
        .collect();
    if names.is_empty() {
        return;
    }
    ctx.log(Event {
        role: Some(Role::Etcd),
        outcome: Some(agreement.state.as_str()),
        reason: Some(reason.to_string()),
        ..Event::error(
            Kind::MembersDisagree,
            format!("etcd member {} has diverged from the other members: {reason}", names.join(", ")),
        )
    });
}
