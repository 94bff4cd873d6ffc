//! The objects of one restore, each with its state.

use serde_json::Value;

use crate::controlled::Services;
use crate::object::Object;
use crate::order::sorted;

/// What is known of an object, or what became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It does not exist, and the API server accepts it: the object as it would be.
    New(Box<Value>),
    /// Nothing was tried, for a reason.
    Unchecked(String),
    /// It exists, and is left alone.
    Exists,
    Skipped(String),
    Refused(String),
    Created,
}

impl State {
    pub const fn word(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Unchecked(_) => "unchecked",
            Self::Exists => "exists",
            Self::Skipped(_) => "skipped",
            Self::Refused(_) => "refused",
            Self::Created => "created",
        }
    }

    pub fn reason(&self) -> &str {
        match self {
            Self::Unchecked(reason) | Self::Skipped(reason) | Self::Refused(reason) => reason,
            Self::Exists => "left alone",
            Self::New(_) | Self::Created => "",
        }
    }

    /// Whether the object is still to be created.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::New(_) | Self::Unchecked(_))
    }
}

#[derive(Debug, Clone)]
pub struct Item {
    pub object: Object,
    pub state: State,
    /// What the operator should know about it.
    pub notes: Vec<String>,
}

/// The objects in the order in which they are created. Of a namespace, what a controller makes again is skipped.
pub fn items(objects: Vec<Object>, is_namespace: bool) -> Vec<Item> {
    let services = Services::of(&objects);
    let state = |object: &Object| match services.leave_out(object).filter(|_| is_namespace) {
        Some(reason) => State::Skipped(reason),
        None => State::Unchecked(String::new()),
    };
    sorted(objects)
        .into_iter()
        .map(|object| Item { state: state(&object), object, notes: Vec::new() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;

    #[test]
    fn an_object_is_left_out_of_its_namespace_but_not_if_it_is_named() {
        let objects = || vec![object("Event", "shop", "e"), object("Secret", "shop", "s")];
        let words = |items: Vec<Item>| items.iter().map(|item| item.state.word()).collect::<Vec<_>>();
        assert_eq!(words(items(objects(), true)), ["unchecked", "skipped"]);
        assert_eq!(words(items(objects(), false)), ["unchecked", "unchecked"]);
    }
}
