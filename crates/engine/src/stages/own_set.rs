//! What every stage that makes a set of its own has in common: begin, grade, sign, publish, tell.

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::{self, Item, Manifest};
use nightshift_core::name::HostName;
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::record::{Fate, SetReport, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::{MAX_ATTEMPTS, SetId};
use nightshift_ssh::Signer;
use nightshift_store::space::{self, SpaceError};
use nightshift_store::{Partial, StoreError, offload};

use super::stored_sets;
use crate::context::{StageContext, StageEnd};
use crate::machine;

/// A set that was begun.
#[derive(Debug)]
pub struct Begun {
    pub partial: Partial,
    /// The newest copy from an earlier night, whose unchanged files are linked.
    pub previous: Option<Manifest>,
}

/// Everything about a set but its identity.
#[derive(Debug, Default)]
pub struct Draft {
    pub items: Vec<Item>,
    /// What makes it degraded.
    pub faults: Vec<String>,
    /// What makes it bad: evidence, never a copy.
    pub bad: Vec<String>,
    /// Why its member is not believed.
    pub diverged: Vec<String>,
    /// What makes it suspicious beside the last good one.
    pub suspicious: Vec<String>,
    pub notes: Vec<String>,
    pub vanished: Vec<String>,
    pub etcd: Option<EtcdFacts>,
}

#[derive(Debug, thiserror::Error)]
pub enum OwnSetError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("not enough room for tonight's set")]
    Space(#[from] SpaceError),
    #[error("{MAX_ATTEMPTS} attempts at tonight's set were made already")]
    TooManyAttempts,
    #[error("the manifest cannot be written")]
    Manifest(#[from] serde_json::Error),
}

/// Whether a good set of a host and role is published already; one that is gets into the record.
pub async fn is_published(ctx: &StageContext, host: &HostName, role: Role) -> Result<bool, OwnSetError> {
    let (vault, night, owner) = (ctx.vault.clone(), ctx.night, host.clone());
    let best = offload::run(move || vault.best(&owner, night, role)).await?;
    let Some(best) = best.filter(|best| best.grade == Grade::Good) else { return Ok(false) };
    stored_sets::ensure_recorded(ctx, &best, Fate::Published).await?;
    Ok(true)
}

/// Begins tonight's set of a host and role; `None` where a good one is published already.
pub async fn begin(ctx: &StageContext, host: &HostName, role: Role) -> Result<Option<Begun>, OwnSetError> {
    if is_published(ctx, host, role).await? {
        return Ok(None);
    }
    let (vault, host, night) = (ctx.vault.clone(), host.clone(), ctx.night);
    let leave = ctx.settings.vault.min_free;
    offload::run(move || {
        let previous = vault.previous(&host, night, role)?;
        let need = previous.as_ref().map_or(0, Manifest::total_bytes);
        space::demand(vault.root(), need, previous.as_ref().map_or(0, |set| set.items.len() as u64), leave)?;
        let attempt = vault.next_attempt(&host, night, role)?;
        if attempt > MAX_ATTEMPTS {
            return Err(OwnSetError::TooManyAttempts);
        }
        let partial = vault.begin(&SetId { host, night, role, attempt })?;
        Ok(Some(Begun { partial, previous }))
    })
    .await
}

/// Publishes what was drafted, with its grade, and says how the stage ended.
pub async fn publish(ctx: &StageContext, partial: Partial, draft: Draft) -> Result<StageEnd, OwnSetError> {
    let set = partial.set().clone();
    let manifest = compose(ctx, &set, draft);
    let encoded = manifest.encode()?;
    let (signature, unsigned) = match sign(ctx, &encoded).await {
        Ok(signature) => (Some(signature), None),
        // Masters accept it unsigned from its origin host, but not from each other.
        Err(error) => (None, Some(nightshift_core::chain(&error))),
    };
    let bytes = manifest.total_bytes();
    let digest = offload::run(move || partial.publish(&encoded, signature.as_deref())).await?;
    let reason =
        (!manifest.notes.is_empty() && manifest.grade != Grade::Good).then(|| manifest.notes.join("; "));
    ctx.report(Step::Set(SetReport {
        set: set.clone(),
        fate: Fate::Published,
        grade: Some(manifest.grade),
        from: None,
        bytes,
        sha256: Some(digest),
        reason: reason.clone(),
    }))
    .await?;
    if let Some(reason) = unsigned {
        let what = format!("{set} is not signed, so masters cannot pass it on");
        ctx.log(Event {
            role: Some(set.role),
            path: Some(set.to_string()),
            ..Event::degraded(Kind::OperationFailed, what, reason)
        });
    }
    Ok(match manifest.grade {
        Grade::Good => StageEnd::done(),
        Grade::Bad => StageEnd::failed(reason.unwrap_or_default()),
        _ => StageEnd { outcome: Outcome::Degraded, reason, retry: false, gained: false },
    })
}

fn compose(ctx: &StageContext, set: &SetId, draft: Draft) -> Manifest {
    // The worst that is said of it counts.
    let said = [
        (Grade::Bad, draft.bad),
        (Grade::Diverged, draft.diverged),
        (Grade::Suspicious, draft.suspicious),
        (Grade::Degraded, draft.faults),
        (Grade::Good, draft.notes),
    ];
    let grade = said.iter().find(|(_, words)| !words.is_empty()).map_or(Grade::Good, |(grade, _)| *grade);
    let own = set.host == ctx.settings.this;
    Manifest {
        format: manifest::FORMAT,
        cluster: ctx.settings.cluster.clone(),
        host: set.host.clone(),
        role: set.role,
        night: set.night,
        attempt: set.attempt,
        made_by: ctx.settings.this.clone(),
        made_at: Timestamp::now(),
        made_with: env!("CARGO_PKG_VERSION").to_owned(),
        // What is read of an agentless host tells nothing about its machine.
        machine: if own { machine::describe() } else { manifest::Machine::default() },
        grade,
        notes: said.into_iter().flat_map(|(_, words)| words).collect(),
        vanished: draft.vanished,
        etcd: draft.etcd,
        items: draft.items,
    }
}

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error(transparent)]
    Key(#[from] nightshift_ssh::IdentityError),
    #[error(transparent)]
    Sign(#[from] nightshift_ssh::SignatureError),
}

async fn sign(ctx: &StageContext, manifest: &[u8]) -> Result<String, SignError> {
    let (key, manifest) = (ctx.settings.ssh.host_key.clone(), manifest.to_owned());
    offload::run(move || Ok(Signer::from_host_key(&key)?.sign(manifest::NAMESPACE, &manifest)?)).await
}
