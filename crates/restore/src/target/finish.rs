//! The end of a plan on this machine.

use nightshift_core::restore::act::Outcome;
use nightshift_core::text::first_of;

use super::call::Call;
use super::error::TargetError;
use super::hold;

/// Ends the plan. Its journal and what was moved aside stay.
pub fn finish(call: &mut Call<'_, '_>) -> Result<Outcome, TargetError> {
    let held = hold::held(&call.host.root)?;
    if !held.is_empty() {
        return Err(TargetError::refused(format!(
            "these units are still held and do not start at boot: {}; start them first",
            first_of(&held, ", ")
        )));
    }
    call.changed = call.state.is_holding() || !call.was_done();
    call.state.release()?;
    Ok(call.outcome())
}
