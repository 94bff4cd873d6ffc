//! A backup of the whole cluster now: an extra night on all hosts, over the operator's own ssh.

use futures_util::stream::{self, StreamExt as _};
use jiff::civil::Date;
use nightshift_core::backup;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::restore::act::{Act, Outcome};
use nightshift_core::restore::id::PlanId;
use nightshift_core::restore::machine::Machine;
use nightshift_core::role::Role;
use nightshift_core::text::Text;

use crate::call::{CallError, PARALLEL, call};
use crate::free_night::{self, Free};
use crate::login::Login;

pub struct Backup<'a> {
    login: &'a Login,
    label: Option<Text>,
    /// Wait for the end of the night on each host.
    wait: bool,
    /// As the operator's machine has it.
    today: Date,
    /// A request has the name of a plan. These acts belong to none, and leave nothing on the machines.
    request: PlanId,
}

impl<'a> Backup<'a> {
    pub const fn new(login: &'a Login, label: Option<Text>, wait: bool, today: Date) -> Self {
        Self { login, label, wait, today, request: PlanId { night: Night::of(today), number: 0 } }
    }

    /// The name that is free on all machines that respond and agree on the date, with those machines; and why the others do not take part.
    pub async fn common_night(
        &self,
        machines: &[Machine],
    ) -> (Option<Night>, Vec<Machine>, Vec<(HostName, CallError)>) {
        let asked = machines.iter().map(|machine| (machine, "1".to_owned())).collect();
        let (mut proposed, mut absent) = (Vec::new(), Vec::new());
        for (host, free) in free_night::of_each(self.login, &self.request, asked).await {
            match free {
                Ok(free) => proposed.push((host, free)),
                Err(error) => absent.push((host, error)),
            }
        }
        let nights: Vec<Night> = proposed.iter().map(|(_, free)| free.night).collect();
        let date = backup::common_date(&nights, self.today);
        let mut night = None;
        for (host, free) in proposed {
            if backup::is_acceptable(free.night, date) {
                night = night.max(Some(free.night));
            } else {
                absent.push((host, CallError::Failed(other_date(&free, date))));
            }
        }
        absent.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut present = machines.to_vec();
        present.retain(|machine| absent.iter().all(|(host, _)| *host != machine.host));
        (night, present, absent)
    }

    /// Runs the night on these machines, and reports each of them when it has ended there. The masters follow the others: they pull
    /// what those have made, and do not wait for a host that does not take part.
    pub async fn run(
        &self,
        night: Night,
        machines: Vec<Machine>,
        mut without: Vec<HostName>,
        mut ended: impl FnMut(&HostName, &Result<Outcome, CallError>),
    ) {
        let (masters, others): (Vec<Machine>, Vec<Machine>) =
            machines.into_iter().partition(|machine| machine.has(Role::Master));
        for group in [others, masters] {
            let act = |machine: Machine| {
                let backup = backup::Backup { label: self.label.clone(), without: without.clone() };
                let act = Act::Backup { night, backup, wait: self.wait };
                async move {
                    let result = call(self.login, &machine, &self.request, "2", act, Vec::new()).await;
                    (machine.host, result)
                }
            };
            let running: Vec<_> = group.into_iter().map(act).collect();
            let mut running = stream::iter(running).buffer_unordered(PARALLEL);
            let mut failed = Vec::new();
            while let Some((host, result)) = running.next().await {
                ended(&host, &result);
                if result.is_err() {
                    failed.push(host);
                }
            }
            without.extend(failed);
        }
    }
}

/// Why a machine is left out that proposes a night which the others would refuse.
fn other_date(free: &Free, date: Date) -> String {
    let (night, clock) = (free.night, free.now.map_or_else(|| "unknown".to_owned(), |now| now.to_string()));
    format!(
        "it proposes night {night}, and the night of the other hosts is of {date}; its clock is at {clock}: set it, or look at its recorded nights, then repeat the command"
    )
}
