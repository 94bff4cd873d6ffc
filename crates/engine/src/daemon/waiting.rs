//! The clients that wait for stages to end (`nightshift run --wait`).

use nightshift_core::agenda::Agenda;
use nightshift_core::night::Night;
use nightshift_core::outcome::Outcome;
use nightshift_core::record::Record;
use nightshift_core::stage::Stage;
use tokio::sync::oneshot;

use super::nights::Nights;
use crate::control::ControlResponse;

#[derive(Default)]
pub(super) struct WaitingClients(pub Vec<WaitingClient>);

pub(super) struct WaitingClient {
    pub night: Night,
    pub stages: Vec<Stage>,
    pub reply: oneshot::Sender<ControlResponse>,
}

impl WaitingClients {
    /// Sends the results to the clients whose stages have all ended. A stage that will be retried has not.
    pub fn release(&mut self, agenda: &Agenda, nights: &Nights) {
        for client in std::mem::take(&mut self.0) {
            let is_open = nights.tonight().is_some_and(|tonight| tonight.night == client.night);
            if is_open && !client.stages.iter().all(|stage| agenda.has_ended(*stage)) {
                self.0.push(client);
                continue;
            }
            let response = match nights.record(client.night) {
                Some(record) => results(&record, &client.stages),
                None => ControlResponse::Failed { message: format!("night {} has no record", client.night) },
            };
            // The client may have disconnected.
            let _gone = client.reply.send(response);
        }
    }
}

/// The results of these stages: one line each, and the worst of them as the kind of response.
fn results(record: &Record, stages: &[Stage]) -> ControlResponse {
    let mut lines = Vec::new();
    let mut worst = Outcome::Done;
    for stage in stages {
        let state = record.stages.get(stage);
        let outcome = state.and_then(|state| state.outcome).unwrap_or(Outcome::Missed);
        let reason = state.and_then(|state| state.reason.as_deref());
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("{stage} {outcome}{reason}"));
        worst = match (worst, outcome) {
            (_, Outcome::Done) => worst,
            (Outcome::Done | Outcome::Degraded, Outcome::Degraded) => Outcome::Degraded,
            _ => Outcome::Failed,
        };
    }
    let message = lines.join("\n");
    match worst {
        Outcome::Done => ControlResponse::Done { message },
        Outcome::Degraded => ControlResponse::Degraded { message },
        _ => ControlResponse::Failed { message },
    }
}
