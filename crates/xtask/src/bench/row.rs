//! One comparison, and how a table shows it.

use std::fmt;

use super::measure::Sample;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    MegabytesPerSecond,
    Megabytes,
    Mebibytes,
    MillisecondsPerMinute,
}

#[derive(Debug, Clone, Copy)]
pub enum Target {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
    AtLeast(f64),
    /// Ours may exceed theirs by so much.
    MoreByAtMost(f64),
}

#[derive(Debug)]
pub struct Row {
    pub what: String,
    pub unit: Unit,
    pub ours: Sample,
    /// The other's name and figures.
    pub theirs: Option<(String, Sample)>,
    pub target: Option<Target>,
    /// Printed only when the target is missed: the reason, and what would be needed.
    pub if_missed: &'static str,
}

impl Row {
    pub fn new(what: impl Into<String>, unit: Unit, ours: impl Into<Sample>) -> Self {
        Self { what: what.into(), unit, ours: ours.into(), theirs: None, target: None, if_missed: "" }
    }

    pub fn beside(self, name: impl Into<String>, theirs: impl Into<Sample>) -> Self {
        Self { theirs: Some((name.into(), theirs.into())), ..self }
    }

    pub fn target(self, target: Target, if_missed: &'static str) -> Self {
        Self { target: Some(target), if_missed, ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.theirs.as_ref().map(|(_, theirs)| self.ours.median() / theirs.median())
    }

    fn is_reached(&self) -> Option<bool> {
        let ours = self.ours.median();
        let theirs = self.theirs.as_ref().map_or(0.0, |(_, theirs)| theirs.median());
        Some(match self.target? {
            Target::RatioAtMost(most) => self.ratio()? <= most,
            Target::RatioAtLeast(least) => self.ratio()? >= least,
            Target::AtMost(most) => ours <= most,
            Target::AtLeast(least) => ours >= least,
            Target::MoreByAtMost(most) => ours - theirs <= most,
        })
    }

    fn target_text(&self) -> String {
        match self.target {
            None => "—".to_owned(),
            Some(Target::RatioAtMost(most)) => format!("≤ {most:.2} ×"),
            Some(Target::RatioAtLeast(least)) => format!("≥ {least:.1} ×"),
            Some(Target::AtLeast(least)) => format!("≥ {least:.0} {}", self.unit),
            Some(Target::AtMost(most)) => format!("≤ {most:.0} {}", self.unit),
            Some(Target::MoreByAtMost(most)) => format!("≤ theirs + {most:.0} {}", self.unit),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, unit) = (self.unit.digits(), self.unit);
        let ours = format!("{:.digits$} {unit}", self.ours);
        let theirs = match &self.theirs {
            Some((name, figures)) => format!("{figures:.digits$} {unit}, {name}"),
            None => "—".to_owned(),
        };
        let ratio = self.ratio().map_or("—".to_owned(), |ratio| format!("{ratio:.2} ×"));
        let reached = match self.is_reached() {
            None => "—",
            Some(true) => "yes",
            Some(false) => "**no**",
        };
        write!(f, "| {} | {ours} | {theirs} | {ratio} | {} | {reached} |", self.what, self.target_text())
    }
}

impl Unit {
    fn digits(self) -> usize {
        match self {
            Self::Seconds => 2,
            Self::Megabytes | Self::Mebibytes => 1,
            Self::MegabytesPerSecond | Self::MillisecondsPerMinute => 0,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Megabytes => "MB",
            Self::Mebibytes => "MiB",
            Self::MillisecondsPerMinute => "ms/min",
        })
    }
}

/// The rows, and below them why a target was missed.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        "| what | ours | theirs | ratio | target | reached |\n|---|---|---|---|---|---|\n".to_owned();
    for row in rows {
        text.push_str(&format!("{row}\n"));
    }
    for row in rows.iter().filter(|row| row.is_reached() == Some(false)) {
        text.push_str(&format!("\nMissed: {}. {}\n", row.what, row.if_missed));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: [f64; 3], theirs: [f64; 3]) -> Row {
        Row::new("gzip", Unit::Seconds, Sample::new(ours.to_vec()))
            .beside("gzip", Sample::new(theirs.to_vec()))
    }

    #[test]
    fn medians_are_compared_and_the_extremes_shown() {
        let row = row([9.0, 1.0, 2.0], [4.0, 3.0, 5.0]).target(Target::RatioAtMost(0.5), "");
        assert_eq!(
            row.to_string(),
            "| gzip | 2.00 (1.00–9.00) s | 4.00 (3.00–5.00) s, gzip | 0.50 × | ≤ 0.50 × | yes |"
        );
    }

    #[test]
    fn a_missed_target_is_told_with_its_reason() {
        let missed = row([3.0; 3], [4.0; 3]).target(Target::RatioAtMost(0.5), "More cores would help.");
        assert!(table(&[missed]).ends_with("| **no** |\n\nMissed: gzip. More cores would help.\n"));
    }

    #[test]
    fn a_target_is_for_the_ratio_for_ours_alone_or_for_the_difference() {
        let reached = |target| row([3.0; 3], [4.0; 3]).target(target, "").is_reached();
        assert_eq!(reached(Target::RatioAtLeast(0.75)), Some(true));
        assert_eq!(reached(Target::RatioAtLeast(0.76)), Some(false));
        assert_eq!(reached(Target::AtMost(2.9)), Some(false));
        assert_eq!(reached(Target::AtLeast(3.0)), Some(true));
        assert_eq!(reached(Target::AtLeast(3.1)), Some(false));
        assert_eq!(reached(Target::MoreByAtMost(-1.0)), Some(true));
    }
}
