//! Whether an error may pass by itself.

use nightshift_core::chain;
use nightshift_peers::ReachError;
use nightshift_store::StoreError;

use super::fetch::FetchError;
use super::queue::Answer;

/// Anything that can go wrong while sets are pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<nightshift_ssh::SftpError> for PullError {
    fn from(error: nightshift_ssh::SftpError) -> Self {
        Self::Reach(error.into())
    }
}

pub fn of(error: &PullError) -> Answer {
    let permanent = match error {
        PullError::Reach(error) => error.is_permanent(),
        PullError::Fetch(error) => error.is_refusal(),
        PullError::Store(_) => false,
    };
    if permanent { Answer::Hopeless(chain(error)) } else { Answer::Trouble(chain(error)) }
}
