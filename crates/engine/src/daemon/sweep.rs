//! What a crash left, removed when the daemon starts.

use std::sync::Arc;

use nightshift_core::chain;
use nightshift_core::night::Night;
use nightshift_core::settings::Settings;

use nightshift_etcd::trial;
use nightshift_store::Vault;
use nightshift_store::offload;
use nightshift_store::outbox::Outbox;

/// Removes what a crash left. What cannot be swept is in nobody's way, so it does not keep the daemon down.
pub(super) async fn sweep(settings: Arc<Settings>, open: Option<Night>) {
    let swept = offload::run(move || {
        // A drill that still runs holds its folder.
        if let Err(error) = trial::sweep(&settings.drill.scratch) {
            tracing::error!("what a drill left cannot be swept: {}", chain(&error));
        }
        let vault = Vault::new(&settings.vault.path).sweep(open);
        [vault, Outbox::new(settings.paths.outbox()).sweep()]
    });
    for swept in swept.await {
        match swept {
            Ok(paths) => {
                for path in paths {
                    tracing::info!("swept {}, which a crash or a removal cut short had left", path.display());
                }
            }
            Err(error) => tracing::error!("what a crash left cannot be swept: {}", chain(&error)),
        }
    }
}
