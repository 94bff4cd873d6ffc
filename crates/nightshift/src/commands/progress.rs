//! The bar that shows how far a file is read.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

pub fn of_file(what: &'static str, path: &Path) -> ProgressBar {
    of_bytes(what, std::fs::metadata(path).map_or(0, |metadata| metadata.len()))
}

/// Of a size that is not known beforehand.
pub fn of_unknown(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bytes} {bytes_per_sec}");
    ProgressBar::no_length()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(what)
}

pub fn of_bytes(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}");
    ProgressBar::new(length)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
