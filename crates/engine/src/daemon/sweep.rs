//! What a crash left, removed when the daemon starts.

use std::sync::Arc;

use nightshift_core::audit::{Event, Kind};
use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::settings::Settings;
use nightshift_etcd::trial::scratch;
use nightshift_store::outbox::Outbox;
use nightshift_store::{Vault, offload};

use crate::audit::Audit;

/// Removes what a crash left. An error here does not keep the daemon from starting: the remains only use space.
pub(super) async fn sweep(settings: Arc<Settings>, open: Option<Night>, audit: &Audit) {
    let (drill, swept) = offload::run(move || {
        // The scratch directory of a drill that still runs is locked, and stays.
        let roots = settings.drill.scratch.iter().cloned().chain([settings.paths.scratch()]);
        let drill = roots.map(|root| scratch::sweep(&root)).fold(Ok(()), Result::and);
        let vault = Vault::of(&settings).sweep(open);
        (drill, [vault, Outbox::new(settings.paths.outbox()).sweep()])
    })
    .await;
    let failed = |what, reason| audit.emit(&Event::degraded(Kind::OperationFailed, what, reason));
    if let Err(error) = drill {
        failed("cannot remove what an earlier drill left", chain(&error));
    }
    for swept in swept {
        match swept {
            Ok(paths) => {
                for path in paths {
                    tracing::info!("removed {}, left by a crash or an interrupted removal", path.display());
                }
            }
            Err(error) => failed("cannot remove what a crash left", chain(&error)),
        }
    }
}
