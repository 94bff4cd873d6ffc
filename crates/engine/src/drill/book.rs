//! The book of a drill: its steps as they go, and what was compared.

use std::time::Instant;

use nightshift_core::proof::{Comparison, DrillReport, DrillStep, DrillVerdict};
use nightshift_etcd::trial::Fault;

use super::words::Word;

/// Who is told of each word.
pub type Teller<'a> = &'a mut (dyn FnMut(Word) + Send);

pub struct Book<'a> {
    copy: String,
    pub tools: String,
    pub compared: Vec<Comparison>,
    steps: Vec<DrillStep>,
    teller: Teller<'a>,
}

impl<'a> Book<'a> {
    pub fn new(copy: String, teller: Teller<'a>) -> Self {
        Self { copy, tools: String::new(), compared: Vec::new(), steps: Vec::new(), teller }
    }

    /// Does a step, and writes down how long it took.
    pub async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        (self.teller)(Word::Begun { step: name.to_owned() });
        let begun = Instant::now();
        let done = work.await;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let step = DrillStep { name: name.to_owned(), took_ms };
        self.steps.push(step.clone());
        (self.teller)(Word::Done(step));
        done
    }

    pub fn close(&mut self, result: Result<(), Fault>) -> DrillReport {
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
