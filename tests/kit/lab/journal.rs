//! A host's journal, as parsed entries.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::host::Host;

const JOURNALCTL: &[&str] = &["journalctl", "--output=json", "--all", "--no-pager", "--quiet"];

pub struct JournalEntry(Map<String, Value>);

impl JournalEntry {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    pub fn message(&self) -> &str {
        self.field("MESSAGE").unwrap_or_default()
    }

    fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line)
            .map(Self)
            .map_err(|error| Error::Refused(format!("the journal printed {line:?}: {error}")))
    }
}

impl Host {
    /// The entries that match, oldest first, of all boots. `matches` are journalctl's: `NIGHTSHIFT_NIGHT=2026-11-22`,
    /// `--unit=nightshift`.
    pub fn journal(&self, matches: &[&str]) -> Result<Vec<JournalEntry>> {
        let output = self.enter()?.args(JOURNALCTL).args(matches).run()?;
        output.text().lines().map(JournalEntry::parse).collect()
    }

    /// Waits for the first entry, past or to come, that matches and pleases `wanted`.
    pub fn wait_journal(
        &self,
        matches: &[&str],
        within: Duration,
        wanted: impl Fn(&JournalEntry) -> bool,
    ) -> Result<JournalEntry> {
        let deadline = Instant::now() + within;
        let mut follower = (self.enter()?.args(JOURNALCTL).args(["--follow", "--no-tail"]).args(matches))
            .spawn(Stdio::piped())?;
        let lines = follower.child.stdout.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
        let (sender, entries) = mpsc::channel();
        // Ends with the follower, whose pipe breaks when it is dropped.
        thread::spawn(move || {
            lines.map_while(std::result::Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut last = String::from("no entry at all");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match entries.recv_timeout(left) {
                Ok(line) => {
                    let entry = JournalEntry::parse(&line)?;
                    if wanted(&entry) {
                        return Ok(entry);
                    }
                    last = entry.message().to_owned();
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::Deadline {
                        what: format!("the awaited entry in the journal of {}", self.name),
                        after: within,
                        last,
                    });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Refused(format!(
                        "{} went down while its journal was read",
                        self.name
                    )));
                }
            }
        }
    }
}
