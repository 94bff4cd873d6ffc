//! The extra night that all machines run: its name must be free on each of them.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::restore::act::Act;
use nightshift_core::restore::id::PlanId;
use nightshift_core::restore::machine::Machine;

use crate::call::{CallError, PARALLEL, call};
use crate::login::Login;

/// What a machine proposes.
#[derive(Debug, Clone)]
pub struct Free {
    pub night: Night,
    /// Its clock.
    pub now: Option<Timestamp>,
}

/// The first extra night of today that is free on each of these machines, each with the number of its step.
pub async fn of_each(
    login: &Login,
    plan: &PlanId,
    machines: Vec<(&Machine, String)>,
) -> Vec<(HostName, Result<Free, CallError>)> {
    let free = |(machine, step): (&Machine, String)| {
        let machine = machine.clone();
        async move {
            let called = call(login, &machine, plan, &step, Act::FreeNight, Vec::new()).await;
            let invalid = || CallError::Failed("it named no free night".to_owned());
            let free = called.and_then(|outcome| {
                let mut lines = outcome.lines.iter();
                let night = lines.next().and_then(|line| line.parse().ok()).ok_or_else(invalid)?;
                Ok(Free { night, now: lines.next().and_then(|line| line.parse().ok()) })
            });
            (machine.host, free)
        }
    };
    stream::iter(machines.into_iter().map(free)).buffer_unordered(PARALLEL).collect().await
}
