//! What the operator sees while the plan is carried out.

use nightshift_core::restore::steps::Step;

use crate::directory::StepEnd;

pub trait Progress {
    fn ended(&mut self, _step: &Step, _end: &StepEnd) {}
    fn note(&mut self, _text: &str) {}
}
