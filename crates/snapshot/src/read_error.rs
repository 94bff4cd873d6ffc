//! Why a database cannot be read.

use std::io;

use crate::finding::{Damage, Finding};

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the database")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] Finding),
}

pub(crate) fn damaged(page: u64, damage: Damage) -> ReadError {
    ReadError::Damaged(Finding::Page { page, damage })
}
