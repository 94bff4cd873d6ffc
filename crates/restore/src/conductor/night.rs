//! The extra night that proves a restored cluster.

use nightshift_core::night::Night;
use nightshift_core::restore::Plan;
use nightshift_core::restore::act::Act;
use nightshift_core::restore::steps::{Action, Step};
use nightshift_store::remove_file;

use crate::directory::Directory;
use crate::error::RestoreError;
use crate::free_night;
use crate::login::Login;

/// The file with the extra night that all hosts run.
const NIGHT: &str = "night.json";

/// Whether it is an extra night in which all hosts take part.
pub fn is_common(step: &Step) -> bool {
    matches!(&step.action, Action::Act(Act::Night { stages, .. }) if !stages.is_empty())
}

/// The extra night that all these hosts run: its name is free on each of them. A run that continues another keeps it, until it has ended.
pub async fn common(
    login: &Login,
    directory: &Directory,
    plan: &Plan,
    steps: &[Step],
) -> Result<Option<Night>, RestoreError> {
    if let Some(night) = directory.read(NIGHT)? {
        return Ok(Some(night));
    }
    let asked = steps.iter().filter_map(|step| Some((plan.machine(&step.host)?, step.number.clone())));
    // A machine that does not respond has its own failure in this step.
    let nights = free_night::of_each(login, &plan.id, asked.collect()).await;
    let night = nights.into_iter().filter_map(|(_, free)| Some(free.ok()?.night)).max();
    night.map(|night| directory.write(NIGHT, &night)).transpose()?;
    Ok(night)
}

/// The night lacks something, such as the set of a node that was down: the next run of this plan opens another.
pub fn forget(directory: &Directory) -> Result<(), RestoreError> {
    Ok(remove_file(&directory.path().join(NIGHT))?)
}
