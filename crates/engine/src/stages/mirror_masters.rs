//! `mirror-masters`: the other masters' own sets, and from them whatever this vault still lacks of anyone.

use std::collections::BTreeSet;

use nightshift_core::chain;
use nightshift_core::inventory::Host;
use nightshift_core::name::HostName;
use nightshift_core::outcome::Grade;
use nightshift_core::record::Expected;
use nightshift_core::role::Role;
use nightshift_core::set_path::SetId;

use super::pull::{self, Fetch, Source};
use crate::context::{StageContext, StageEnd};
use crate::expected;
use nightshift_peers as peers;
use nightshift_peers::{Credentials, ReachError};
use nightshift_store::StoreError;
use nightshift_store::offload;

pub async fn run(ctx: StageContext) -> StageEnd {
    let credentials = match Credentials::of_peers(&ctx.settings).await {
        Ok(credentials) => credentials,
        Err(error) => return StageEnd::broken(chain(&error)),
    };
    let mut end = pull::pull_role(&ctx, Role::Master, &credentials).await;
    for master in &ctx.peers {
        let lacking = match lacking(&ctx).await {
            Ok(lacking) => lacking,
            Err(error) => return StageEnd::failed(chain(&error)),
        };
        let Some(host) = ctx.settings.inventory.get(master).filter(|_| !lacking.is_empty()) else { continue };
        match fill(&ctx, host, &lacking, &credentials).await {
            Ok(came) => end.gained |= came,
            // The pull above has said already that this master cannot be reached.
            Err(error) => tracing::debug!("{master}: {}", chain(&error)),
        }
    }
    end
}

/// The sets that should be here and are not, or only in a poor state.
async fn lacking(ctx: &StageContext) -> Result<Vec<Expected>, StoreError> {
    let (settings, vault, night) = (ctx.settings.clone(), ctx.vault.clone(), ctx.night);
    offload::run(move || {
        let mut lacking = Vec::new();
        let mut covered = BTreeSet::new();
        for expected in expected::sets(&settings) {
            let grade = vault.best(&expected.host, night, expected.role)?.map(|best| best.grade);
            if grade.is_some_and(Grade::is_copy) {
                covered.insert(expected.role);
            }
            if expected.host != settings.this && grade != Some(Grade::Good) {
                lacking.push((expected, grade.is_none()));
            }
        }
        // What a host left to another is not lacking where the other's is here.
        lacking.retain(|(expected, absent)| !(expected.any && *absent && covered.contains(&expected.role)));
        Ok(lacking.into_iter().map(|(expected, _)| expected).collect())
    })
    .await
}

/// Takes what another master has of the sets that are lacking here. Only a good signature of their maker
/// makes them count.
async fn fill(
    ctx: &StageContext,
    master: &Host,
    lacking: &[Expected],
    credentials: &Credentials,
) -> Result<bool, ReachError> {
    let (session, sftp) = credentials.open_sftp(&peers::endpoint(master)).await?;
    let vault = master.vault.to_string_lossy().into_owned();
    let source =
        Source { sftp: &sftp, vault: &vault, host: &master.name, known_hosts: &credentials.known_hosts };
    let mut came = false;
    for Expected { host, role, .. } in lacking {
        for set in there(ctx, source, host, *role).await? {
            match (Fetch { ctx, source, set }).run().await {
                Ok(_) => came = true,
                Err(error) => tracing::warn!("{}", chain(&error)),
            }
        }
    }
    session.close().await;
    Ok(came)
}

async fn there(
    ctx: &StageContext,
    source: Source<'_>,
    host: &HostName,
    role: Role,
) -> Result<Vec<SetId>, ReachError> {
    let mut sets = pull::published_at(source, host, ctx.night).await?;
    sets.retain(|set| set.role == role && !ctx.vault.holds(set));
    Ok(sets)
}
