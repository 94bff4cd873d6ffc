//! `inspect` of an archive: its sets and their files, in the order in which they lie in it.

use std::io::Write;
use std::path::Path;

use nightshift_archive::{ArchivedSet, Contents, Visitor, visit_blocking};
use nightshift_core::archive::ArchiveName;
use nightshift_core::manifest::Manifest;
use serde_json::json;

use super::list::{pretty, shown};
use super::opened::progress;
use super::set::{files, summary};
use crate::args::Choice;
use crate::commands::{CommandError, archive_file};

/// Tells what an archive holds, and reads all of it: where something in it is damaged, that is the error.
pub fn tell(
    path: &Path,
    name: &ArchiveName,
    choice: &Choice,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let progress = progress(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    let reader = archive_file::open(path, name, choice.identity.as_deref(), &progress)?;
    let mut teller = Teller { name, contents: None, sets: Vec::new() };
    let visited = visit_blocking(reader, name, &mut teller);
    progress.finish_and_clear();
    let told = if json { teller.json()? } else { teller.text() };
    // What came before the damage is worth seeing, and the damage is said though nobody wants to see that.
    let written = out.write_all(told.as_bytes()).map_err(CommandError::Output);
    visited.map_err(|source| CommandError::Archive { path: path.to_owned(), source })?;
    written
}

struct Teller<'n> {
    name: &'n ArchiveName,
    contents: Option<Contents>,
    sets: Vec<Manifest>,
}

impl Visitor for Teller<'_> {
    fn contents(&mut self, contents: &Contents) {
        self.contents = Some(contents.clone());
    }

    fn set(&mut self, _: &ArchivedSet, manifest: &Manifest) {
        self.sets.push(manifest.clone());
    }
}

impl Teller<'_> {
    fn json(&self) -> Result<String, CommandError> {
        let told =
            json!({ "archive": self.name.to_string(), "contents": self.contents, "manifests": self.sets });
        Ok(pretty(&told)?)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(contents) = &self.contents {
            let Contents { cluster, host, night, made_at, made_with, sets, missing, .. } = contents;
            text.push_str(&format!(
                "archive       {}: night {night} of cluster {cluster}, {} sets\n\
                 packed        by {host} at {made_at}, with nightshift {made_with}\n",
                self.name,
                sets.len(),
                made_with = shown(made_with.as_bytes())
            ));
            for missing in missing {
                text.push_str(&format!("missing       {}\n", shown(missing.as_bytes())));
            }
        }
        for manifest in &self.sets {
            text.push_str(&format!("\n{}{}", summary(manifest), files(manifest)));
        }
        text
    }
}
