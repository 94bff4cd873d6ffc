//! Pruning a remote: only archives of this master that its own records list as shipped, and neither the newest two
//! nor the newest one with an etcd snapshot.

use jiff::Timestamp;
use nightshift_core::record::Step;
use nightshift_core::settings::Remote;
use nightshift_peers::{Credentials, remote_endpoint};
use nightshift_store::{StoreError, kept};

use crate::context::StageContext;
use crate::retention;
use crate::stages::error::StageError;

pub async fn prune(ctx: &StageContext, remote: &Remote) -> Result<(), StageError> {
    let name = remote.name.clone();
    let known = ctx.offload(move |ctx| {
        let kept = kept::read(&ctx.settings.paths.kept())?;
        Ok::<_, StoreError>((retention::Recorded::read(&ctx.settings, &name)?, kept))
    });
    let (recorded, kept) = known.await?;
    let credentials = Credentials::of_remote(&ctx.settings, remote).await?;
    let (session, sftp) = credentials.open_sftp(&remote_endpoint(remote)).await?;
    let there = retention::own_archives(&sftp, remote, &ctx.settings.this, &recorded).await?;
    let today = ctx.settings.window.as_of(ctx.night, Timestamp::now());
    let decided = retention::archives(remote, there, &recorded, &kept, today);
    for (name, decision) in decided.into_iter().filter(|(_, decision)| !decision.keep) {
        let path = remote.file(&name.to_string());
        let reason = decision.reason.to_string();
        ctx.report(Step::Pruned { what: format!("{}:{path}", remote.name), reason }).await?;
        sftp.remove(&path).await?;
        for extension in ["sha256", "sig"] {
            match sftp.remove(&format!("{path}.{extension}")).await {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
    }
    session.close().await;
    Ok(())
}
