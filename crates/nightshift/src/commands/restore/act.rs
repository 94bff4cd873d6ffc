//! `nightshift restore act`: one act of a plan on this machine, started over ssh by the operator's machine.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::backup::Backup;
use nightshift_core::name::HostName;
use nightshift_core::night::Night;
use nightshift_core::outcome::Verdict;
use nightshift_core::role::{Role, Roles};
use nightshift_core::settings::Settings;
use nightshift_core::stage::Stage;
use nightshift_core::text::Text;
use nightshift_engine::control::{ClientError, ControlRequest, ControlResponse, send};
use nightshift_restore::conductor::DEGRADED;
use nightshift_restore::target::idle::{self, UntilIdle};
use nightshift_restore::target::{self, Host, Nightshift};
use nightshift_ssh::known_hosts;
use nightshift_store::records::Records;
use nightshift_store::{IoContext as _, read_if_exists, sync_file};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::commands::keys::authorize::{PEER_FILE, find_remote, peer_line, remote_line};
use crate::commands::run::{UNEXPECTED, socket};
use crate::commands::{CommandError, here, keys};
use crate::config_file;
use crate::exit::Exit;

/// Of that file, in bytes.
const MAX_AUTHORIZED_KEYS: u64 = 4 << 20;
/// How long the daemon may take to open its socket after its start.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How often the operator's machine gets a sign of life while a night runs.
const SIGN_INTERVAL: Duration = Duration::from_secs(15);

type Failure = Box<dyn Error + Send + Sync>;

pub fn run(config: &Path) -> Result<Exit, CommandError> {
    survive_hangup()?;
    let input = io::stdin().as_fd().try_clone_to_owned();
    let input = File::from(input.map_err(CommandError::failed("cannot use standard input"))?);
    let input = UntilIdle::new(input, idle::LIMIT);
    target::run(input, io::stdout(), &Host::here(&Configured { config }))?;
    Ok(Exit::Good)
}

/// sudo may run this in a terminal of its own, which hangs up when the operator's connection breaks off. The act then continues.
fn survive_hangup() -> Result<(), CommandError> {
    here(async {
        // From the first registration on, the signal does not end the process, also when this is dropped.
        signal(SignalKind::hangup()).map(drop).map_err(CommandError::failed("cannot ignore SIGHUP"))
    })
}

/// nightshift as this machine's configuration describes it.
struct Configured<'a> {
    config: &'a Path,
}

impl Configured<'_> {
    /// Read for each act, because an act may have restored it.
    fn settings(&self) -> Result<Settings, CommandError> {
        config_file::settings(self.config)
    }

    /// The report on a night that an interrupted act has run.
    fn ended(&self, night: Night) -> Result<Option<String>, Failure> {
        let record = Records::new(self.settings()?.paths.records()).read(night)?;
        Ok(record.and_then(|record| record.closed).map(|closed| match closed.verdict {
            Verdict::Complete => format!("night {night} has ended"),
            verdict => format!("{DEGRADED}night {night} is {verdict}: {}", closed.reasons.join("; ")),
        }))
    }
}

impl Nightshift for Configured<'_> {
    fn pin(&self, lines: &[String]) -> Result<bool, Failure> {
        Ok(known_hosts::pin_lines(&self.settings()?.ssh.known_hosts, lines, Timestamp::now())?)
    }

    fn identities(&self, remotes: &[String]) -> Result<(bool, Vec<String>), Failure> {
        let settings = self.settings()?;
        if !settings.roles().has(Role::Master) {
            return Err(format!("{} is not a master", settings.this).into());
        }
        let keys = keys::create(&settings)?;
        let mut lines: Vec<String> = keys.first().map(|key| peer_line(&key.identity)).into_iter().collect();
        for name in remotes {
            let remote = find_remote(&settings, &name.parse()?)?;
            lines.push(remote_line(&nightshift_ssh::Identity::load(&remote.identity)?));
        }
        Ok((keys.iter().any(|key| key.is_new), lines))
    }

    fn authorize(&self, lines: &[String]) -> Result<bool, Failure> {
        authorize(Path::new(PEER_FILE), lines)
    }

    fn this(&self) -> Result<HostName, Failure> {
        Ok(self.settings()?.this)
    }

    fn free_night(&self) -> Result<Night, Failure> {
        let settings = self.settings()?;
        let date = settings.window.today(Timestamp::now());
        let recorded = Records::new(settings.paths.records()).nights()?;
        Ok(Night::free_extra(date, recorded).ok_or("no name is left for an extra night of today")?)
    }

    fn night(&self, plan: &str, stages: &[Stage], night: Option<Night>) -> Result<String, Failure> {
        if let Some(ended) = night.map(|night| self.ended(night)).transpose()?.flatten() {
            return Ok(ended);
        }
        if stages.is_empty() {
            return report(here(run_own_night(&socket(self.config), self.settings()?.roles()))?);
        }
        report(here(run_night(&socket(self.config), plan, stages, night))?)
    }

    fn backup(
        &self,
        night: Night,
        backup: Backup,
        wait: bool,
        alive: &mut dyn FnMut(),
    ) -> Result<String, Failure> {
        let (stages, backup) = (Stage::ALL.to_vec(), Some(backup));
        let night = Some(night);
        let request = ControlRequest::RunNight { wait, night, again: false, stages, restored: None, backup };
        report(here(attended(&socket(self.config), &request, alive))?)
    }
}

/// The daemon's report on a night, or why it did not run.
fn report(response: ControlResponse) -> Result<String, Failure> {
    match response {
        ControlResponse::Done { message } => Ok(message),
        ControlResponse::Degraded { message } => Ok(format!("{DEGRADED}{message}")),
        ControlResponse::Failed { message }
        | ControlResponse::Refused { message }
        | ControlResponse::Busy { message }
        | ControlResponse::ConfigRefused { diagnostics: message } => Err(message.into()),
        ControlResponse::Status(_) | ControlResponse::Readable { .. } => Err(UNEXPECTED.into()),
    }
}

/// Waits for the response, with a sign of life as long as the daemon responds to other requests.
async fn attended(
    socket: &Path,
    request: &ControlRequest,
    alive: &mut dyn FnMut(),
) -> Result<ControlResponse, CommandError> {
    let mut sent = pin!(send(socket, request));
    loop {
        if let Ok(response) = timeout(SIGN_INTERVAL, &mut sent).await {
            return Ok(response?);
        }
        if send(socket, &ControlRequest::Status { facts: false }).await.is_ok() {
            alive();
        }
    }
}

/// Requests a night of this host alone once the daemon is there, and waits for its end. If a night of the schedule is open here, the host
/// joins that, and only its own sets are awaited: other hosts may make theirs hours later, or not at all.
async fn run_own_night(socket: &Path, roles: Roles) -> Result<ControlResponse, CommandError> {
    let until = Instant::now() + START_TIMEOUT;
    let status = accepted(socket, &ControlRequest::Status { facts: false }, until).await?;
    let ControlResponse::Status(status) = status else { return Ok(status) };
    let open = status.night.map(|night| night.record).filter(|record| record.closed.is_none());
    let Some(night) = open.map(|record| record.night).filter(|night| !night.is_extra()) else {
        return accepted(socket, &whole_night(Vec::new(), None, None), until).await;
    };
    let stages = Stage::ALL.into_iter().filter(|stage| stage.makes().is_some_and(|role| roles.has(role)));
    let request =
        ControlRequest::Run { stages: stages.collect(), night: Some(night), wait: true, again: false };
    Ok(match accepted(socket, &request, until).await? {
        ControlResponse::Done { message } => ControlResponse::Done {
            message: format!(
                "{message}; night {night} is open, and its other stages run in it: see `nightshift status`"
            ),
        },
        other => other,
    })
}

fn whole_night(stages: Vec<Stage>, night: Option<Night>, restored: Option<Text>) -> ControlRequest {
    ControlRequest::RunNight { wait: true, night, again: false, stages, restored, backup: None }
}

/// Requests the night that proves a restored cluster once the daemon is there, and waits for its end.
async fn run_night(
    socket: &Path,
    plan: &str,
    stages: &[Stage],
    night: Option<Night>,
) -> Result<ControlResponse, CommandError> {
    let until = Instant::now() + START_TIMEOUT;
    accepted(socket, &ControlRequest::Restored, until).await?;
    accepted(socket, &whole_night(stages.to_vec(), night, Some(plan.into())), until).await
}

/// The daemon may be starting, and a night that closes waits for its stages.
async fn accepted(
    socket: &Path,
    request: &ControlRequest,
    until: Instant,
) -> Result<ControlResponse, CommandError> {
    loop {
        match send(socket, request).await {
            Err(ClientError::Away { .. })
            | Ok(ControlResponse::Refused { .. } | ControlResponse::Busy { .. })
                if Instant::now() < until =>
            {
                sleep(POLL_INTERVAL).await;
            }
            sent => return Ok(sent?),
        }
    }
}

/// Adds the lines that the file lacks. It keeps its owner, mode and label, and sshd skips a line that a crash has cut off.
fn authorize(path: &Path, lines: &[String]) -> Result<bool, Failure> {
    if let Some(bad) = lines.iter().find(|line| line.contains(['\n', '\r', '\0'])) {
        return Err(format!("a line of authorized_keys contains a line break: {}", bad.escape_debug()).into());
    }
    let old = read_if_exists(path, MAX_AUTHORIZED_KEYS)?.unwrap_or_default();
    let old = String::from_utf8_lossy(&old).into_owned();
    let missing: Vec<&String> =
        lines.iter().filter(|line| !old.lines().any(|known| known == *line)).collect();
    if missing.is_empty() {
        return Ok(false);
    }
    let mut text = if old.is_empty() || old.ends_with('\n') { String::new() } else { "\n".to_owned() };
    for line in missing {
        text += line;
        text.push('\n');
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
    let mut file = file.on("open", path)?;
    file.write_all(text.as_bytes()).on("write", path)?;
    sync_file(&file).on("sync", path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_added_to_authorized_keys_once_and_on_lines_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authorized_keys");
        let add = |lines: &[&str]| {
            authorize(&path, &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
        };
        // As a crash leaves it in the middle of a line.
        std::fs::write(&path, "ssh-ed25519 A\nssh-ed").unwrap();
        assert!(add(&["ssh-ed25519 A", "ssh-ed25519 B"]).unwrap());
        assert!(!add(&["ssh-ed25519 B"]).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "ssh-ed25519 A\nssh-ed\nssh-ed25519 B\n");
        assert!(add(&["ssh-ed25519 C\nssh-ed25519 D"]).is_err());
    }
}
