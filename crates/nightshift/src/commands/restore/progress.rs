//! The bar that shows how far a file is read.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

/// How many bytes of a file are read.
pub fn progress(what: &'static str, path: &Path) -> ProgressBar {
    let total = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}");
    ProgressBar::new(total)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what)
}
