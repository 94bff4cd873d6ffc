//! The wall clock, and whether somebody keeps it right.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nightshift_core::agenda::Clock;

/// What systemd-timesyncd leaves when it has set the clock, and chrony-wait and ntp's wrappers do too.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// How long an answer is taken as it was: a clock that is kept is not soon lost.
const GOOD_FOR: Duration = Duration::from_secs(600);
const DOUBT_FOR: Duration = Duration::from_secs(20);

/// Watches the clock. The sandbox bars adjtimex(2), so the question goes to files and to timedated.
#[derive(Debug)]
pub struct WallClock {
    /// Set where the config says that the hypervisor keeps the time.
    trusted: bool,
    unsynchronised_since: Option<Instant>,
    /// The last answer, and when it was got: asking may cost a process.
    asked: Option<(Instant, bool)>,
}

impl WallClock {
    pub const fn new(trusted: bool) -> Self {
        Self { trusted, unsynchronised_since: None, asked: None }
    }

    pub async fn read(&mut self) -> Clock {
        let synchronised = self.trusted || self.is_synchronised().await;
        if synchronised {
            self.unsynchronised_since = None;
        } else {
            self.unsynchronised_since.get_or_insert_with(Instant::now);
        }
        Clock {
            now: Timestamp::now(),
            synchronised,
            unsynchronised_for: self.unsynchronised_since.map(|since| since.elapsed()).unwrap_or_default(),
        }
    }

    async fn is_synchronised(&mut self) -> bool {
        if let Some((at, answer)) = self.asked
            && at.elapsed() < if answer { GOOD_FOR } else { DOUBT_FOR }
        {
            return answer;
        }
        let answer = ask().await;
        self.asked = Some((Instant::now(), answer));
        answer
    }
}

async fn ask() -> bool {
    if Path::new(SYNCHRONISED).exists() {
        return true;
    }
    // With chrony or ntpd there is no such file; timedated asks the kernel for us.
    let asked = tokio::process::Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(Ok(output)) => output.stdout.starts_with(b"yes"),
        _ => false,
    }
}
