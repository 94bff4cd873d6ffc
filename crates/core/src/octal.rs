//! Permission bits as four octal digits, for `#[serde(with)]`.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use crate::text::Text;

pub fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{mode:04o}"))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
        let text = Text::new(&text);
        D::Error::custom(format!("invalid mode `{text}`; expected four octal digits"))
    })
}
