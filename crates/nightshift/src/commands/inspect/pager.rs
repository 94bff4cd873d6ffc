//! Output through a pager if standard output is a terminal, as `git` does it.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::process::{Child, Command, Stdio};

/// `-F`: quit if the output fits on one screen. `-R`: pass colours on. `-X`: leave the output on the screen.
const DEFAULT: &str = "less -FRX";

/// Starts the pager at the first byte that is written: until then, questions and progress bars use the terminal.
#[derive(Default)]
pub struct Pager {
    sink: Option<BufWriter<Box<dyn Write>>>,
    child: Option<Child>,
}

impl Pager {
    /// Waits until the user quits the pager.
    pub fn end(mut self) -> io::Result<()> {
        let flushed = self.sink.take().map_or(Ok(()), |mut sink| sink.flush());
        // Closing the pipe ends its input; its exit code does not matter.
        let _ended = self.child.take().map(|mut child| child.wait());
        flushed
    }

    fn open(&mut self) -> BufWriter<Box<dyn Write>> {
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
            None => self.open(),
        };
        let written = sink.write(bytes);
        self.sink = Some(sink);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Starts the pager; `None` if $PAGER disables it or it is not installed.
fn start() -> Option<Child> {
    let wanted = std::env::var("PAGER").unwrap_or_else(|_| DEFAULT.to_owned());
    if matches!(wanted.trim(), "" | "cat") {
        return None;
    }
    let program = wanted.split_whitespace().next()?;
    let installed = program.contains('/')
        || std::env::split_paths(&std::env::var_os("PATH")?).any(|path| path.join(program).is_file());
    if !installed {
        return None;
    }
    // Through a shell, because $PAGER may have arguments and quotes.
    Command::new("sh").arg("-c").arg(&wanted).stdin(Stdio::piped()).spawn().ok()
}
