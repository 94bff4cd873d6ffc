//! The log of a drill: its steps, and what was compared.

use std::time::Instant;

use nightshift_core::proof::{Comparison, DrillReport, DrillStep, DrillVerdict, ProgramUsed};
use nightshift_core::secrets::SecretsReport;
use nightshift_etcd::trial::fault::Fault;

use super::message::WorkerMessage;

/// etcd starts and accepts a write on an empty directory too.
const UNCOMPARED: &str =
    "the restored etcd accepted a write, but none of its content could be compared with the copy";

/// Sends each message.
pub type Send<'a> = &'a mut (dyn FnMut(WorkerMessage) + std::marker::Send);

pub struct DrillLog<'a> {
    copy: String,
    pub tools: String,
    pub programs: Vec<ProgramUsed>,
    pub compared: Vec<Comparison>,
    pub secrets: Option<SecretsReport>,
    steps: Vec<DrillStep>,
    send: Send<'a>,
}

impl<'a> DrillLog<'a> {
    pub fn new(copy: String, send: Send<'a>) -> Self {
        let (tools, programs, compared, steps) = Default::default();
        Self { copy, tools, programs, compared, secrets: None, steps, send }
    }

    /// Does a step, and records its duration.
    pub async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        (self.send)(WorkerMessage::Started { step: name.to_owned() });
        let started = Instant::now();
        let done = work.await;
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let step = DrillStep { name: name.into(), took_ms };
        self.steps.push(step.clone());
        (self.send)(WorkerMessage::Done(step));
        done
    }

    pub fn report(&mut self, result: Result<(), Fault>) -> DrillReport {
        let was_compared = self.compared.iter().any(Comparison::was_compared);
        let (verdict, reason) = match result {
            Ok(()) if was_compared => (DrillVerdict::Proved, None),
            Ok(()) => (DrillVerdict::NotProved, Some(UNCOMPARED.to_owned())),
            Err(fault) => (fault.verdict(), Some(fault.reason())),
        };
        self.compared.extend(self.secrets.as_ref().and_then(compared_secrets));
        DrillReport {
            verdict,
            reason: reason.map(Into::into),
            copy: std::mem::take(&mut self.copy).into(),
            tools: std::mem::take(&mut self.tools).into(),
            programs: std::mem::take(&mut self.programs),
            compared: std::mem::take(&mut self.compared),
            secrets: self.secrets.take(),
            steps: std::mem::take(&mut self.steps),
        }
    }
}

/// That values decrypt says nothing about whether etcd restores, so it is a remark and no comparison.
fn compared_secrets(secrets: &SecretsReport) -> Option<Comparison> {
    let summary = secrets.summary()?;
    Some(match &secrets.unchecked {
        Some(reason) => Comparison::not_compared("encrypted values", reason.as_str()),
        None => Comparison::note("encrypted values", summary),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_which_nothing_was_compared_is_not_proved() {
        let mut send = |_| {};
        let mut verdict = |compared| {
            let mut log = DrillLog::new("a copy".to_owned(), &mut send);
            log.compared = compared;
            log.report(Ok(())).verdict
        };
        let unchecked = || Comparison::not_compared("HashKV", "compacted since");
        assert_eq!(verdict(vec![]), DrillVerdict::NotProved);
        assert_eq!(verdict(vec![unchecked(), Comparison::note("revision", "3")]), DrillVerdict::NotProved);
        assert_eq!(verdict(vec![unchecked(), Comparison::new("live keys", 3, 3)]), DrillVerdict::Proved);
    }
}
