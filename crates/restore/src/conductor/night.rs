//! The extra night that proves a restored cluster.

use futures_util::stream::{self, StreamExt as _};
use nightshift_core::night::Night;
use nightshift_core::restore::Plan;
use nightshift_core::restore::act::Act;
use nightshift_core::restore::steps::{Action, Step};

use crate::call::{PARALLEL, call};
use crate::directory::Directory;
use crate::error::RestoreError;
use crate::login::Login;

/// The file with the extra night that all hosts run.
const NIGHT: &str = "night.json";

/// Whether it is an extra night in which all hosts take part.
pub fn is_common(step: &Step) -> bool {
    matches!(&step.action, Action::Act(Act::Night { stages, .. }) if !stages.is_empty())
}

/// The extra night that all these hosts run: its name is free on each of them. A run that continues another keeps it.
pub async fn common(
    login: &Login,
    directory: &Directory,
    plan: &Plan,
    steps: &[Step],
) -> Result<Option<Night>, RestoreError> {
    if let Some(night) = directory.read(NIGHT)? {
        return Ok(Some(night));
    }
    let free = |step: &Step| {
        let (machine, number) = (plan.machine(&step.host), step.number.clone());
        async move {
            let called = call(login, machine?, &plan.id, &number, Act::FreeNight, Vec::new());
            // A machine that does not respond has its own failure in this step.
            called.await.ok()?.lines.first()?.parse::<Night>().ok()
        }
    };
    let nights: Vec<_> = stream::iter(steps.iter().map(free)).buffer_unordered(PARALLEL).collect().await;
    let night = nights.into_iter().flatten().max();
    night.map(|night| directory.write(NIGHT, &night)).transpose()?;
    Ok(night)
}
