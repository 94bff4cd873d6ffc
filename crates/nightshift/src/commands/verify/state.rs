//! What `nightshift verify` found out about a set or an archive.

use nightshift_core::signed::Signed;

use crate::exit::Exit;

/// What is known about one set or archive. The worst decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Verified,
    Unchecked,
    Bad,
}

impl State {
    pub const fn exit(self) -> Exit {
        match self {
            Self::Verified => Exit::Good,
            Self::Unchecked => Exit::Degraded,
            Self::Bad => Exit::Failed,
        }
    }

    pub fn of(findings: &[String], unchecked: &[String], signed: &Signed) -> Self {
        match signed {
            _ if !findings.is_empty() => Self::Bad,
            Signed::By(_) if unchecked.is_empty() => Self::Verified,
            _ => Self::Unchecked,
        }
    }
}
