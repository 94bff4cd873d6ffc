//! What is removed, and why: in the record and in the journal.

use nightshift_core::audit::{Event, Kind};
use nightshift_core::record::Step;
use nightshift_store::StoreError;

use crate::context::StageContext;

/// Reports what is about to be removed. The reason is on disk when this returns.
pub async fn report(ctx: &StageContext, what: &str, reason: &str) -> Result<(), StoreError> {
    ctx.note(Step::Pruned { what: what.to_owned(), reason: reason.to_owned() }).await?;
    ctx.tell(Event {
        path: Some(what.to_owned()),
        reason: Some(reason.to_owned()),
        ..Event::info(Kind::Pruned, format!("{what} removed: {reason}"))
    });
    Ok(())
}
