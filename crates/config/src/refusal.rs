//! Why a value in a config is refused. It has no position yet: the ledger adds it.

/// What is wrong, a suggestion, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) label: Option<String>,
    pub(crate) help: Vec<String>,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: None, help: Vec::new() }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a suggestion, if there is one.
    pub(crate) fn meant(self, nearest: Option<&str>) -> Self {
        match nearest {
            Some(nearest) => self.label(format!("did you mean `{nearest}`?")),
            None => self,
        }
    }
}

/// So that `?` turns the error of a parser into a refusal.
impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}
