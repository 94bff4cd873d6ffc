//! The log of a drill: its steps, and what was compared.

use std::time::Instant;

use nightshift_core::proof::{Comparison, DrillReport, DrillStep, DrillVerdict};
use nightshift_etcd::trial::fault::Fault;

use super::message::WorkerMessage;

/// Sends each message.
pub type Send<'a> = &'a mut (dyn FnMut(WorkerMessage) + std::marker::Send);

pub struct DrillLog<'a> {
    copy: String,
    pub tools: String,
    pub compared: Vec<Comparison>,
    steps: Vec<DrillStep>,
    send: Send<'a>,
}

impl<'a> DrillLog<'a> {
    pub fn new(copy: String, send: Send<'a>) -> Self {
        Self { copy, tools: String::new(), compared: Vec::new(), steps: Vec::new(), send }
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
        let step = DrillStep { name: name.to_owned(), took_ms };
        self.steps.push(step.clone());
        (self.send)(WorkerMessage::Done(step));
        done
    }

    pub fn report(&mut self, result: Result<(), Fault>) -> DrillReport {
        let (verdict, reason) = match result {
            Ok(()) => (DrillVerdict::Proved, None),
            Err(fault) => (fault.verdict(), Some(fault.reason())),
        };
        DrillReport {
            verdict,
            reason,
            copy: std::mem::take(&mut self.copy),
            tools: std::mem::take(&mut self.tools),
            compared: std::mem::take(&mut self.compared),
            steps: std::mem::take(&mut self.steps),
        }
    }
}
