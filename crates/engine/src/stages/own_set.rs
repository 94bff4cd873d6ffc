//! What all stages that make a set of this host's have in common: begin, grade, sign, publish, report.

use jiff::Timestamp;
use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::etcd_facts::EtcdFacts;
use nightshift_core::manifest::{self, Item, Manifest};
use nightshift_core::name::HostName;
use nightshift_core::outcome::{Grade, Outcome};
use nightshift_core::record::{Fate, SetReport, StartReason, Step};
use nightshift_core::role::Role;
use nightshift_core::set_path::{MAX_ATTEMPTS, SetId};
use nightshift_core::units;
use nightshift_ssh::Signer;
use nightshift_store::space::Amount;
use nightshift_store::{Partial, StoreError};

use super::error::StageError;
use super::{free_space, stored_sets};
use crate::context::{StageContext, StageEnd};
use crate::machine;

/// The manifest and the signature, each created at most twice.
const OWN_FILES: u64 = 4;
/// The size of an ordinary manifest.
const OWN_BYTES: u64 = 1 << 20;

/// A set that was begun.
#[derive(Debug)]
pub struct Begun {
    pub partial: Partial,
    /// The newest copy from an earlier night, whose unchanged files are linked.
    pub previous: Option<Manifest>,
}

/// Everything about a set except its identity.
#[derive(Debug, Default)]
pub struct Draft {
    pub items: Vec<Item>,
    /// Why it is degraded.
    pub faults: Vec<String>,
    /// Why it is bad: kept as evidence, never used as a copy.
    pub bad: Vec<String>,
    /// Why its etcd member has diverged.
    pub diverged: Vec<String>,
    /// Why it is suspicious, compared with the last good set.
    pub suspicious: Vec<String>,
    pub notes: Vec<String>,
    pub vanished: Vec<String>,
    pub etcd: Option<EtcdFacts>,
}

/// A set of tonight that was begun, or the good one that exists.
#[derive(Debug)]
pub enum Begin {
    New(Box<Begun>),
    Exists(Box<Manifest>),
}

/// The good set of a host and role that is published already. The record has it afterwards.
pub async fn published(
    ctx: &StageContext,
    host: &HostName,
    role: Role,
) -> Result<Option<Manifest>, StoreError> {
    let owner = host.clone();
    let best = ctx.offload(move |ctx| ctx.vault.best(&owner, ctx.night, role)).await;
    let Some(best) = best.filter(|best| best.grade == Grade::Good) else { return Ok(None) };
    stored_sets::ensure_recorded(ctx, &best, Fate::Published).await?;
    Ok(Some(best.manifest))
}

/// The end of a stage that makes no set, because tonight's exists.
pub fn exists(ctx: &StageContext, set: &Manifest) -> StageEnd {
    let made = units::local_time(set.made_at, &ctx.settings.window.zone);
    let mut reason = format!("nothing made: {} exists, made {made}", set.id());
    if ctx.why == StartReason::Requested {
        reason.push_str("; `--again` makes another one");
    }
    StageEnd { reason: Some(reason), ..StageEnd::done() }
}

/// Begins tonight's set of a host and role, which leaves so many bytes free, unless a good one is published already and no other
/// one was requested.
pub async fn begin(ctx: &StageContext, host: &HostName, role: Role, leave: u64) -> Result<Begin, StageError> {
    let existing = published(ctx, host, role).await?;
    if let Some(set) = existing.filter(|_| !ctx.again) {
        return Ok(Begin::Exists(Box::new(set)));
    }
    let host = host.clone();
    ctx.offload(move |ctx| {
        let StageContext { vault, night, settings, .. } = ctx;
        let previous = vault.previous(&host, *night, role)?;
        let max = settings.vault.max_set_size(role);
        // If the set before was larger, files are left out of this one.
        let need = previous.as_ref().map_or(0, Manifest::total_bytes).saturating_add(OWN_BYTES).min(max);
        let files = previous.as_ref().map_or(0, |set| set.items.len() as u64) + OWN_FILES;
        // A file for which the set has no space is left out, so what may be removed is removed first.
        free_space::remove_or_report(ctx);
        let budget = vault.budget(leave, Amount::bytes(max));
        budget.reserve(need, files).map_err(|source| StageError::Space { what: "tonight's set", source })?;
        let attempt = vault.next_attempt(&host, *night, role)?;
        if attempt > MAX_ATTEMPTS {
            return Err(StageError::TooManyAttempts);
        }
        let partial = vault.begin(&SetId { host, night: *night, role, attempt })?.within(budget);
        Ok(Begin::New(Box::new(Begun { partial, previous })))
    })
    .await
}

/// Publishes the drafted set with its grade, and returns how the stage ended.
pub async fn publish(ctx: &StageContext, partial: Partial, draft: Draft) -> Result<StageEnd, StageError> {
    let set = partial.set().clone();
    let manifest = compose(ctx, &set, draft);
    let encoded = manifest.encode()?;
    let (bytes, max) = (encoded.len() as u64, manifest::max_bytes(set.role));
    if bytes > max {
        return Err(StageError::LongManifest { bytes, max });
    }
    let (unsigned, sha256) = ctx
        .offload(move |ctx| {
            // Masters accept an unsigned set from its origin host, but not from each other.
            let (signature, unsigned) = match sign(ctx, &encoded) {
                Ok(signature) => (Some(signature), None),
                Err(error) => (None, Some(chain(&error))),
            };
            Ok::<_, StoreError>((unsigned, partial.publish(&encoded, signature.as_deref())?))
        })
        .await?;
    let reason =
        (!manifest.notes.is_empty() && manifest.grade != Grade::Good).then(|| manifest.notes.summary());
    ctx.report(Step::Set(SetReport {
        set: set.clone(),
        fate: Fate::Published,
        grade: Some(manifest.grade),
        from: None,
        bytes: manifest.total_bytes(),
        sha256: Some(sha256),
        reason: reason.clone(),
        // Its files were hashed as they were written, and its snapshot was checked as it streamed.
        verified: (manifest.grade > Grade::Bad).then_some(manifest.made_at),
    }))
    .await?;
    if let Some(reason) = unsigned {
        let what = format!("{set} is not signed, so masters cannot fetch it from each other");
        ctx.log(Event {
            role: Some(set.role),
            path: Some(set.to_string()),
            ..Event::degraded(Kind::OperationFailed, what, reason)
        });
    }
    Ok(match manifest.grade {
        // One that is made after packing is packed too.
        Grade::Good => StageEnd { gained: true, ..StageEnd::done() },
        Grade::Bad => StageEnd::failed(reason.unwrap_or_default()),
        _ => StageEnd { outcome: Outcome::Degraded, reason, gained: true, ..StageEnd::done() },
    })
}

fn compose(ctx: &StageContext, set: &SetId, mut draft: Draft) -> Manifest {
    let own = set.host == ctx.settings.this;
    // An agentless host is read over SFTP, which identifies neither its machine nor what runs there.
    let (machine, system) = if own {
        (machine::describe(), Some(machine::system()))
    } else {
        (manifest::Machine::default(), None)
    };
    let system = system.and_then(|system| system.map_err(|reason| draft.notes.push(reason)).ok());
    // The worst finding decides.
    let findings = [
        (Grade::Bad, draft.bad),
        (Grade::Diverged, draft.diverged),
        (Grade::Suspicious, draft.suspicious),
        (Grade::Degraded, draft.faults),
        (Grade::Good, draft.notes),
    ];
    let worst = findings.iter().find(|(_, notes)| !notes.is_empty());
    let grade = worst.map_or(Grade::Good, |(grade, _)| *grade);
    Manifest {
        format: manifest::FORMAT,
        cluster: ctx.settings.cluster.clone(),
        host: set.host.clone(),
        role: set.role,
        night: set.night,
        attempt: set.attempt,
        made_by: ctx.settings.this.clone(),
        made_at: Timestamp::now(),
        made_with: env!("CARGO_PKG_VERSION").into(),
        machine,
        system,
        grade,
        notes: findings.into_iter().flat_map(|(_, notes)| notes).collect(),
        vanished: draft.vanished.into_iter().collect(),
        etcd: draft.etcd,
        items: draft.items,
    }
}

fn sign(ctx: &StageContext, manifest: &[u8]) -> Result<String, StageError> {
    Ok(Signer::from_host_key(&ctx.settings.ssh.host_key)?.sign(manifest::NAMESPACE, manifest)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightshift_core::digest::Digest;
    use nightshift_core::stage::Stage;
    use serde_json::json;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_set_whose_manifest_no_peer_would_accept_is_not_published() {
        let dir = tempfile::tempdir().unwrap();
        let settings = testing::settings(dir.path(), vec![testing::host("n1", Role::Node)]);
        let ctx = testing::context(settings, "2026-11-22", Stage::CollectNode);
        let set: SetId = "n1/2026-11-22/node".parse().unwrap();
        let partial = ctx.vault.begin(&set).unwrap();
        let items = (0..60_000).map(|number| {
            let path = format!("etc/origin/node/a-directory-of-many-files/file-{number}.yaml");
            serde_json::from_value(json!({
                "path": path, "source": path, "kind": "file", "size": 1, "sha256": Digest::of(b"x"),
                "owner": { "uid": 0, "gid": 0, "user": "root", "group": "root" }, "mode": "0600",
                "modified": "2026-11-22T21:00:05Z"
            }))
            .unwrap()
        });
        let draft = Draft { items: items.collect(), ..Draft::default() };
        let error = publish(&ctx, partial, draft).await.unwrap_err();
        assert!(chain(&error).contains("list fewer files"), "{error}");
        assert!(!StageEnd::from(error).retry);
        assert!(!ctx.vault.contains(&set));
    }
}
