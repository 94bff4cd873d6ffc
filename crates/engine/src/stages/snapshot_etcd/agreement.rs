//! Whether the members agree: asked by one host a night, and told loudly where they do not.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::etcd_facts::Agreement;
use nightshift_core::role::Role;

use super::sight::Sight;
use crate::context::StageContext;
use nightshift_etcd as etcd;
use nightshift_etcd::Agreeing;

/// Asks all members, if that is for this host to do: the first in the order whose member answers.
pub async fn ask(ctx: &StageContext, sight: &Sight) -> Option<Agreement> {
    let cluster = sight.cluster.as_ref().filter(|cluster| cluster.asks(sight.id))?;
    let agreement = etcd::agreement(cluster, Agreeing::default()).await;
    tell(ctx, &agreement);
    Some(agreement)
}

fn tell(ctx: &StageContext, agreement: &Agreement) {
    let reason = agreement.reason.clone().unwrap_or_default();
    tracing::info!("the members' agreement: {} {reason}", agreement.state.as_str());
    let names: Vec<String> = (agreement.diverged().iter())
        .map(|member| format!("{} ({})", member.name, member.member_id))
        .collect();
    if names.is_empty() {
        return;
    }
    ctx.tell(Event {
        role: Some(Role::Etcd),
        outcome: Some(agreement.state.as_str()),
        reason: Some(reason.clone()),
        ..Event::error(
            Kind::MembersDisagree,
            format!("etcd member {} holds something else than the others: {reason}", names.join(", ")),
        )
    });
}
