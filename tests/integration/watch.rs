//! `status --watch` in a real terminal.

use std::path::{Path, PathBuf};

use kit::daemon;
use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::lab::cmd::{Cmd, poll};
use kit::site::{Plan, Site};

use crate::support::{SOON, verdict};

/// A tmux server of its own with one window, which runs a command.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn start(folder: &Path, columns: usize, rows: usize, command: &str) -> Self {
        let terminal = Self { socket: folder.join("tmux") };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        terminal.run(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, command]);
        terminal
    }

    fn run(&self, words: &[&str]) -> String {
        let output = Cmd::new("tmux").arg("-u").arg("-S").arg(&self.socket).args(words).run().unwrap();
        output.text()
    }

    fn resize(&self, columns: usize, rows: usize) {
        self.run(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What it shows once a line contains a text.
    fn wait_for(&self, text: &str) -> Vec<String> {
        let shown = poll(text, SOON, || {
            let shown = self.run(&["capture-pane", "-p"]);
            if shown.contains(text) { Ok(shown) } else { Err(shown) }
        });
        shown.unwrap().lines().map(str::to_owned).collect()
    }

    /// Whether a line was too long for a row: then tmux joins its rows.
    fn has_wrapped(&self) -> bool {
        self.run(&["capture-pane", "-p", "-J"]).lines().count()
            < self.run(&["capture-pane", "-p"]).lines().count()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = Cmd::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

fn command(site: &Site, host: &str) -> String {
    let (program, config) = (daemon::program().unwrap(), site.host(host).config());
    format!("{} --config {} status --watch", program.display(), config.display())
}

fn place(screen: &[String], start: &str) -> usize {
    screen.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {screen:#?}"))
}

#[test]
fn the_first_screen_of_a_small_terminal_says_what_is_missing_and_a_large_one_has_the_tables_too() {
    if !kit::require(Cmd::new("tmux").arg("-V").run().map(drop).map_err(|error| error.to_string())) {
        return;
    }
    let nodes = ["n1", "n2", "n3"];
    let mut plan: Vec<(&str, &[_])> = vec![("m1", &[Master, Etcd]), ("backup", &[BackupServer])];
    plan.extend(nodes.map(|node| (node, &[Node][..])));
    let mut site = Plan::new(&plan).build().unwrap();
    for stage in ["pull-nodes", "pull-etcd"] {
        let until = format!("[stage.{stage}]\nuntil = \"{}\"\n", site.zone().clock(-1));
        site.drop_in("m1", &format!("50-{stage}.toml"), &until).unwrap();
    }
    for node in nodes {
        site.host_mut(node).sshd.down();
    }
    site.start("m1").unwrap();
    assert_eq!(verdict(&site.settle("m1").unwrap()), "degraded");

    let folder = tempfile::tempdir().unwrap();
    let terminal = Terminal::start(folder.path(), 80, 24, &command(&site, "m1"));
    let small = terminal.wait_for("waits for you:");
    assert!(small.len() <= 24 && !terminal.has_wrapped(), "{small:#?}");
    assert!(small[1].starts_with("WARNING: night ") && small[1].ends_with(" is degraded"), "{small:#?}");
    let order = [
        "last restorable night: ",
        "missing:",
        "  ! n1.site.test node: missing",
        "now: ",
        "copies: ",
        "space: ",
    ];
    let places: Vec<usize> = order.iter().map(|start| place(&small, start)).collect();
    assert!(places.is_sorted() && *places.last().unwrap() < place(&small, "waits for you:"), "{small:#?}");
    assert!(small.iter().any(|line| line.ends_with(" more lines: nightshift status | less")), "{small:#?}");

    terminal.resize(200, 50);
    let large = terminal.wait_for(" STAGE ");
    assert!(large.len() <= 50 && !terminal.has_wrapped(), "{large:#?}");
    for text in ["  ! n3.site.test node: missing", " HOST ", " ETCD ", " ARCHIVE ", "waits for you:"] {
        assert!(large.iter().any(|line| line.contains(text)), "{text} in {large:#?}");
    }
    assert!(large.iter().all(|line| !line.contains(" more lines")), "{large:#?}");
}
