//! v2 and v3 keys together: tonight's member is copied as a whole while it is stopped.

use std::path::Path;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::etcd_facts::ColdCopy;
use nightshift_core::role::Role;
use nightshift_core::settings::{Compression, EtcdMembers};
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::health::Member;
use nightshift_store::Partial;

use super::draft::item;
use super::space;
use crate::cold_copy::frame::Request;
use crate::cold_copy::request::{ColdCopyOutcome, RequestError, request};
use crate::cold_copy::{OPT_IN, socket};
use crate::context::StageContext;
use crate::stages::error::StageError;
use crate::stages::own_set::Draft;

const MISSING: &str =
    "etcd has v2 keys and v3 keys, and a snapshot contains only v3 keys: the v2 keys are not in this set";

/// Adds a cold copy to the set, if it is this member's turn.
pub async fn add(
    ctx: &StageContext,
    local: &LocalMember,
    member: &Member,
    partial: &Partial,
    draft: &mut Draft,
) -> Option<ColdCopy> {
    let name = match ctx.settings.etcd.compression {
        Compression::Gzip => "member.tar.gz",
        Compression::Zstd => "member.tar.zst",
    };
    draft.vanished.retain(|path| !path.starts_with("member.tar."));
    let message = Request { night: ctx.night, cluster_id: member.cluster_id.clone() };
    let create = || partial.create(name).map_err(StageError::from);
    let requested = async {
        let need = space::member_bytes(local, member);
        let what = "a cold copy, so no member was stopped for one";
        space::reserve(ctx, partial, need).map_err(|source| StageError::Space { what, source })?;
        request(&socket(&ctx.settings), &message, ctx.settings.etcd.compression, create).await
    };
    match requested.await {
        Ok(ColdCopyOutcome::NotMyTurn { member: tonight }) => {
            match ctx.settings.etcd.members {
                EtcdMembers::All => draft
                    .notes
                    .push(format!("the v2 keys of this cluster are in tonight's cold copy of {tonight}")),
                // Each host requests a cold copy only with a set of its own.
                EtcdMembers::One => warn(ctx, member, draft, not_requested(&tonight)),
            }
            None
        }
        Ok(ColdCopyOutcome::Copied(copied)) => {
            let data_dir = local.data_dir.as_deref().unwrap_or(Path::new("the data directory"));
            let source = format!("{}/member, copied while the member was stopped", data_dir.display());
            draft.items.push(item(name.to_owned(), source, copied.stored));
            Some(ColdCopy {
                item: name.into(),
                raw_size: copied.raw.size,
                raw_sha256: copied.raw.sha256,
                stopped_ms: copied.stopped_ms,
            })
        }
        Err(error) => {
            warn(ctx, member, draft, not_copied(&error));
            // The file is not a copy: it is incomplete, or the member was not healthy afterwards.
            if let Err(error) = partial.discard(name) {
                draft.faults.push(chain(&error));
            }
            None
        }
    }
}

fn warn(ctx: &StageContext, member: &Member, draft: &mut Draft, reason: String) {
    ctx.log(Event {
        role: Some(Role::Etcd),
        reason: Some(reason.clone()),
        ..Event::warning(Kind::EtcdUnwell, format!("etcd member {}: {reason}", member.name))
    });
    draft.faults.push(reason);
}

/// With one set a night, the host whose turn the cold copy is may not make a set.
fn not_requested(tonight: &str) -> String {
    format!(
        "{MISSING}; tonight it is the turn of member {tonight}, whose host may not make a set while `members` in [etcd] is \
         \"one\"; set `members = \"all\"` on every etcd host"
    )
}

fn not_copied(error: &StageError) -> String {
    match error {
        StageError::ColdCopy(RequestError::NotEnabled { .. }) => format!(
            "{MISSING}; enable the cold copy, which stops one member a night, on every etcd host (`{OPT_IN}`), or set \
             `data = \"v3\"` in [etcd] if the v2 keys are only left over from a migration"
        ),
        error => format!("{MISSING}: {}", chain(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_without_the_v2_keys_says_how_to_get_them() {
        let error = RequestError::NotEnabled { socket: "/run/nightshift-cold-copy/cold-copy.sock".into() };
        let reason = not_copied(&error.into());
        for word in ["v2 keys", "systemctl enable --now nightshift-cold-copy.socket", "data = \"v3\""] {
            assert!(reason.contains(word), "{reason}");
        }
        let refused = not_copied(&RequestError::Refused("member etcd2 is not healthy".into()).into());
        assert!(refused.contains("v2 keys") && refused.ends_with("member etcd2 is not healthy"), "{refused}");
    }
}
