//! One call of an act that changes something: its journal, its bytes, its result.

use std::path::Path;

use jiff::Timestamp;
use nightshift_core::chain;
use nightshift_core::restore::act::{Act, Outcome, Request};
use nightshift_core::text::Text;
use nightshift_store::StoreError;

use super::aside::Aside;
use super::error::TargetError;
use super::exchange::Exchange;
use super::host::Host;
use super::journal::{Event, JournalLine};
use super::state::State;

pub struct Call<'a, 'x> {
    pub host: &'a Host<'a>,
    pub input: &'a mut Exchange<'x>,
    pub state: State,
    step: &'a str,
    act: &'static str,
    pub notes: Vec<Text>,
    pub changed: bool,
}

impl<'a, 'x> Call<'a, 'x> {
    /// The journal has a line when this returns.
    pub fn begin(
        host: &'a Host<'a>,
        input: &'a mut Exchange<'x>,
        state: State,
        request: &'a Request,
    ) -> Result<Self, TargetError> {
        let act = request.act.name();
        let mut call =
            Self { host, input, state, step: &request.step, act, notes: Vec::new(), changed: false };
        let (units, manifests) = match &request.act {
            Act::Start { units, manifests } | Act::Stop { units, manifests, .. } => {
                (units.clone(), manifests.clone())
            }
            _ => Default::default(),
        };
        call.log(Event::Begun { units, manifests })?;
        Ok(call)
    }

    /// The journal has another line when this returns.
    pub fn end(mut self, outcome: Result<Outcome, TargetError>) -> Result<Outcome, TargetError> {
        match &outcome {
            Ok(outcome) => self.log(Event::Done { changed: outcome.changed })?,
            Err(error) => {
                // The act's own failure is what the operator has to know.
                let _less_important = self.log(Event::Failed { reason: chain(error).into() });
            }
        }
        outcome
    }

    pub fn log(&mut self, event: Event) -> Result<(), StoreError> {
        let (step, act) = (self.step.to_owned(), self.act.to_owned());
        self.state.journal.append(JournalLine { time: Timestamp::now(), step, act, event })
    }

    pub fn note(&mut self, note: impl Into<Text>) {
        self.notes.push(note.into());
    }

    /// Whether this step has ended well before.
    pub fn was_done(&self) -> bool {
        self.state.journal.is_done(self.step, self.act)
    }

    /// Whether something was started after this step had ended well.
    pub fn was_started_since(&self) -> bool {
        self.state.journal.started_after(self.step, self.act)
    }

    /// Whether this step has ended well, and nothing was placed since.
    pub fn was_settled(&self) -> bool {
        self.state.journal.is_settled(self.step, self.act)
    }

    pub fn aside(&self) -> Aside<'_> {
        Aside { root: &self.host.root, plan: &self.state.plan }
    }

    /// A path below the machine's root, as the machine has it.
    pub fn shown(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.host.root).unwrap_or(path);
        Path::new("/").join(below).display().to_string()
    }

    pub fn outcome(&mut self) -> Outcome {
        Outcome { changed: self.changed, notes: self.notes.drain(..).collect(), ..Outcome::default() }
    }
}
