//! Where etcd runs in a container and none of its programs is installed, they are copied out of it, for the drill.

use std::path::Path;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::role::Role;
use nightshift_core::settings::EtcdTools;
use nightshift_etcd::container::programs;
use nightshift_etcd::discover::LocalMember;
use nightshift_etcd::kept_tools::keep;
use nightshift_etcd::trial::tools::missing_tools;

use crate::context::StageContext;

/// Keeps the programs of the local member's container in the state directory. A failure is reported on a host that drills; it says
/// nothing about the snapshot.
pub async fn keep_those_of_container(ctx: &StageContext, local: &LocalMember, version: &str) {
    let drill = &ctx.settings.drill;
    if drill.etcd_tools != EtcdTools::Auto || missing_tools(&drill.etcd_tools).is_none() {
        return;
    }
    let (files, version) = (local.files.clone(), version.to_owned());
    let kept = ctx.offload(move |ctx| {
        let found = programs(Path::new("/"), &files).map_err(|error| chain(&error))?;
        let settings = &ctx.settings;
        keep(&settings.paths.state, found, &version, settings.vault.min_free).map_err(|error| chain(&error))
    });
    if let Err(reason) = kept.await
        && drill.hosts.contains(&ctx.settings.this)
    {
        let what = "no etcd programs are installed, and those of its container cannot be kept for the drill";
        ctx.log(Event { role: Some(Role::Etcd), ..Event::degraded(Kind::OperationFailed, what, reason) });
    }
}
