//! `inspect` of an archive: its sets and their files, in the archive's order.

use std::io::Write;
use std::path::Path;

use nightshift_archive::{ArchivedSet, Contents, Visitor, visit_blocking};
use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::Manifest;
use nightshift_core::units::count;
use serde_json::json;

use super::list::shown;
use super::set::{files, summary};
use crate::args::Choice;
use crate::commands::{CommandError, archive_file, progress};
use crate::out::pretty;

/// Reads the whole archive and shows its content. Damage in it is an error.
pub fn show(
    path: &Path,
    name: &ArchiveName,
    choice: &Choice,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let progress = progress::of_file("unpacking", path);
    let reader = archive_file::open(path, name, choice.identity.as_deref(), &progress)?;
    let mut overview = Overview { name, contents: None, sets: Vec::new() };
    let visited = visit_blocking(reader, name, &mut overview);
    progress.finish_and_clear();
    let text = if json { overview.json()? } else { overview.text() };
    // Show the content before the damage, and report the damage even if the reader has quit the pager.
    let written = out.write_all(text.as_bytes()).map_err(CommandError::Output);
    visited.map_err(archive_file::invalid(path))?;
    written
}

struct Overview<'n> {
    name: &'n ArchiveName,
    contents: Option<Contents>,
    sets: Vec<Manifest>,
}

impl Visitor for Overview<'_> {
    fn contents(&mut self, contents: &Contents) {
        self.contents = Some(contents.clone());
    }

    fn set(&mut self, _: &ArchivedSet, manifest: &Manifest, _: &[u8]) {
        self.sets.push(manifest.clone());
    }
}

impl Overview<'_> {
    fn json(&self) -> Result<String, CommandError> {
        let archive = self.name.to_string();
        Ok(pretty(&json!({ "archive": archive, "contents": self.contents, "manifests": self.sets }))?)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(contents) = &self.contents {
            let Contents { cluster, host, night, made_at, made_with, sets, missing, host_keys, .. } =
                contents;
            text.push_str(&format!(
                "archive       {}: night {night} of cluster {cluster}, {}\n\
                 packed        by {host} at {made_at}, with nightshift {made_with}\n",
                self.name,
                count(sets.len(), "set"),
                made_with = shown(made_with.as_bytes())
            ));
            if !host_keys.is_empty() {
                text.push_str(&format!("host keys     {} pinned by {host}\n", host_keys.len()));
            }
            for missing in missing {
                text.push_str(&format!("missing       {}\n", shown(missing.as_bytes())));
            }
            for set in sets.iter().filter(|set| !set.left_out.is_empty()) {
                let links = set.left_out.summary();
                text.push_str(&format!("left out      {}: links, only in its manifest: {links}\n", set.id));
            }
        }
        for manifest in &self.sets {
            text.push_str(&format!("\n{}{}", summary(manifest), files(manifest)));
        }
        text
    }
}
