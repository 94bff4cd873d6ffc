//! Each night one older etcd snapshot per host is verified again, so that a disk that loses data is noticed.

use std::collections::BTreeMap;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;
use nightshift_store::verify::{Hashed, verify_set};
use nightshift_store::{StoreError, Vault, offload};

use crate::context::StageContext;

/// Verifies the snapshots of tonight's turn; returns what is wrong with them.
pub async fn scrub(ctx: &StageContext) -> Result<Vec<String>, StoreError> {
    let (settings, vault, night) = (ctx.settings.clone(), ctx.vault.clone(), ctx.night);
    let checked = offload::run(move || {
        let mut checked = Vec::new();
        for set in tonights_turn(&vault, night)? {
            let verified = verify_set(&settings.cluster, &vault, &set, &|_, _, _| None, &mut Hashed::new())?;
            checked.push((set, verified.findings));
        }
        Ok::<_, StoreError>(checked)
    })
    .await?;
    let mut faults = Vec::new();
    for (set, findings) in checked.into_iter().filter(|(_, findings)| !findings.is_empty()) {
        let reason = findings.join("; ");
        ctx.log(Event {
            path: Some(set.to_string()),
            reason: Some(reason.clone()),
            ..Event::error(Kind::VerifyFailed, format!("{set} is damaged on disk: {reason}"))
        });
        faults.push(format!("{set} is damaged on disk: {reason}"));
    }
    Ok(faults)
}

/// One older etcd set of each host, another one each night.
fn tonights_turn(vault: &Vault, tonight: Night) -> Result<Vec<SetId>, StoreError> {
    let mut older: BTreeMap<HostName, Vec<SetId>> = BTreeMap::new();
    for set in vault.sets()?.into_iter().filter(|set| set.role == Role::Etcd && set.night < tonight) {
        older.entry(set.host.clone()).or_default().push(set);
    }
    Ok(older.into_values().filter_map(|sets| tonight.turn(&sets).cloned()).collect())
}
