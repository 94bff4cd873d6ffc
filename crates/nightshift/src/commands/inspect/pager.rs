//! Where answers go: through a pager in a terminal, as `git` does it, else to standard output.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::{Child, Command, Stdio};

/// What `less` is asked for: to end by itself where all fits on the screen, and to leave it there.
const DEFAULT: &str = "less -FRX";

/// Begins with the first byte that is written, so that questions and progress have the terminal until then.
#[derive(Default)]
pub struct Pager {
    sink: Option<BufWriter<Box<dyn Write>>>,
    child: Option<Child>,
}

impl Pager {
    /// Waits until the reader has seen enough.
    pub fn end(mut self) -> io::Result<()> {
        let flushed = self.sink.take().map_or(Ok(()), |mut sink| sink.flush());
        // Its pipe is closed by now; how it ends is its own affair.
        let _ended = self.child.take().map(|mut child| child.wait());
        flushed
    }

    fn begin(&mut self) -> BufWriter<Box<dyn Write>> {
        let child = if io::stdout().is_terminal() { start() } else { None };
        let (child, pipe) = child.map_or((None, None), |mut child| {
            let pipe = child.stdin.take();
            (Some(child), pipe)
        });
        self.child = child;
        BufWriter::new(match pipe {
            Some(pipe) => Box::new(pipe),
            None => Box::new(io::stdout()),
        })
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = match self.sink.take() {
            Some(sink) => sink,
            None => self.begin(),
        };
        let written = sink.write(bytes);
        self.sink = Some(sink);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Starts the pager; `None` where none is wanted or none is there.
fn start() -> Option<Child> {
    let wanted = std::env::var("PAGER").unwrap_or_else(|_| DEFAULT.to_owned());
    if matches!(wanted.trim(), "" | "cat") {
        return None;
    }
    let program = wanted.split_whitespace().next()?;
    let there = program.contains('/')
        || std::env::split_paths(&std::env::var_os("PATH")?).any(|folder| folder.join(program).is_file());
    if !there {
        return None;
    }
    // A shell, for $PAGER may have arguments and quotes.
    Command::new("sh").arg("-c").arg(&wanted).stdin(Stdio::piped()).spawn().ok()
}
