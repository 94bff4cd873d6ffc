//! The name of a plan.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::night::Night;
use crate::words::stored_as_text;

/// The name of a plan: the night, and eight hexadecimal digits by which two plans of a night differ. It is a file name on every machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanId {
    pub night: Night,
    pub number: u32,
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.night, self.number)
    }
}

/// The text is not the name of a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid name of a plan; expected a night and eight hexadecimal digits, such as 2026-11-28-1f3a9c2b")]
pub struct NotAPlanId;

impl FromStr for PlanId {
    type Err = NotAPlanId;

    fn from_str(text: &str) -> Result<Self, NotAPlanId> {
        let (night, number) = text.rsplit_once('-').ok_or(NotAPlanId)?;
        let id = Self {
            night: night.parse().map_err(|_| NotAPlanId)?,
            number: u32::from_str_radix(number, 16).map_err(|_| NotAPlanId)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(NotAPlanId) }
    }
}

stored_as_text!(PlanId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_plan_has_one_spelling_and_is_a_safe_file_name() {
        for good in ["2026-11-28-1f3a9c2b", "2026-11-28.1-00000001"] {
            assert_eq!(good.parse::<PlanId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["2026-11-28", "2026-11-28-1F3A9C2B", "2026-11-28-1", "2026-11-28-../x", "", "x-00000001"]
        {
            assert_eq!(bad.parse::<PlanId>(), Err(NotAPlanId), "{bad}");
        }
    }
}
