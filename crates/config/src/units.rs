//! Durations, sizes, percentages and times of day in a config.

use std::time::Duration;

use jiff::civil::Time;
use nightshift_core::night::NightWindow;

use crate::refusal::Refusal;
use crate::show::Shown;

/// A night is shorter than a day, so no duration needs to be longer.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes per second.
const MIN_RATE: u64 = 64 << 10;

const DURATION_UNITS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Splits `30s` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start()))
}

pub(crate) fn duration(text: &str) -> Result<Duration, Refusal> {
    let refused =
        || Refusal::new(format!("invalid duration `{text}`")).help("write it as `30s`, `5m` or `2h`");
    let (number, unit) = number_and_unit(text).ok_or_else(refused)?;
    let (_, seconds) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    let duration = Duration::from_secs(number.saturating_mul(*seconds));
    if duration > MAX_DURATION {
        return Err(Refusal::new(format!("`{text}` is longer than a day")).help("write at most `24h`"));
    }
    Ok(duration)
}

/// A delay within the night. One that is as long as the night would leave it no time.
pub(crate) fn delay(text: &str, window: Option<&NightWindow>) -> Result<Duration, Refusal> {
    let delay = duration(text)?;
    let length = window.map(|window| window.length().unsigned_abs());
    if length.is_some_and(|length| delay >= length) {
        return Err(Refusal::new(format!("`{text}` is not shorter than the night"))
            .help("write a few minutes, such as `5m`"));
    }
    Ok(delay)
}

/// A size of which 0 would mean that nothing is stored.
pub(crate) fn some_size(text: &str) -> Result<u64, Refusal> {
    match size(text)? {
        0 => Err(Refusal::new("with a size of 0, no set would be stored")
            .help("write a size such as `16GiB`, or remove the key")),
        size => Ok(size),
    }
}

/// A duration that must not be zero.
pub(crate) fn some_duration(text: &str) -> Result<Duration, Refusal> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err(Refusal::new("the duration must be at least 1s").help("write `1s`, or more"));
    }
    Ok(duration)
}

pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, size) = DURATION_UNITS
        .into_iter()
        .rev()
        .find(|(_, size)| seconds > 0 && seconds.is_multiple_of(*size))
        .unwrap_or(("s", 1));
    format!("{}{unit}", seconds / size)
}

pub(crate) fn size(text: &str) -> Result<u64, Refusal> {
    let refused = || {
        Refusal::new(format!("invalid size `{text}`"))
            .help("write it as `500MB` (powers of 1000) or `2GiB` (powers of 1024)")
    };
    let (number, unit) = number_and_unit(text).ok_or_else(refused)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    number.checked_mul(*bytes).ok_or_else(refused)
}

/// Bytes per second, as limits of the bandwidth have them.
pub(crate) fn rate(text: &String) -> Result<Size, Refusal> {
    match size(text.strip_suffix("/s").unwrap_or(text))? {
        0..MIN_RATE => {
            Err(Refusal::new(format!("{text} per second is too slow: a night would last for days"))
                .help("write at least `64KiB`, or remove the key: then the rate is not limited"))
        }
        rate => Ok(Size(rate)),
    }
}

pub(crate) fn show_size(bytes: u64) -> String {
    let divides = |size: &u64| bytes > 0 && bytes.is_multiple_of(*size);
    let largest = SIZE_UNITS.into_iter().filter(|(_, size)| divides(size)).max_by_key(|(_, size)| *size);
    let (unit, size) = largest.unwrap_or(("B", 1));
    format!("{}{unit}", bytes / size)
}

impl Shown for Duration {
    fn shown(&self) -> String {
        show_duration(*self).shown()
    }
}

impl Shown for Time {
    fn shown(&self) -> String {
        show_time(*self).shown()
    }
}

/// A number of bytes, shown with its unit.
pub(crate) struct Size(pub(crate) u64);

impl Shown for Size {
    fn shown(&self) -> String {
        show_size(self.0).shown()
    }
}

/// A percentage, shown with its sign.
pub(crate) struct Percent(pub(crate) u8);

impl Shown for Percent {
    fn shown(&self) -> String {
        format!("{}%", self.0).shown()
    }
}

pub(crate) fn percent(text: &str) -> Result<Percent, Refusal> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    number.filter(|number| *number <= 100).map(Percent).ok_or_else(|| {
        Refusal::new(format!("invalid percentage `{text}`")).help("write it as `50%`, from `0%` to `100%`")
    })
}

/// A time of day, `HH:MM`.
pub(crate) fn time(text: &str) -> Result<Time, Refusal> {
    let digits = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Time::new(digits(hour)?, digits(minute)?, 0, 0).ok())
        .ok_or_else(|| {
            Refusal::new(format!("invalid time of day `{text}`"))
                .help("write hours and minutes, from `00:00` to `23:59`")
        })
}

pub(crate) fn show_time(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["0s", "30s", "90s", "5m", "90m", "2h", "24h"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for bad in ["", "s", "5", "5d", "1h30m", "-5m", "1.5h", "25h", "99999999999999999999s", "5µ"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_written() {
        for text in ["0B", "1B", "500MB", "2GiB", "3KiB", "1TB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        for bad in ["", "2", "2G", "2gib", "-1GiB", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_day_have_hours_and_minutes() {
        for text in ["00:00", "09:30", "23:59"] {
            assert_eq!(show_time(time(text).unwrap()), text);
        }
        for bad in ["", "24:00", "9:30", "22", "22:60", "22:00:00", "+1:00"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
