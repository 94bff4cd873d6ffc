//! `nightshift generate DIR`: writes the man pages, completions, message catalog, alert rules and board for the packages.

use std::path::Path;
use std::{fs, io};

use clap::CommandFactory as _;
use clap_complete::Shell;
use nightshift_core::metrics::{alerts, board};

use super::CommandError;
use crate::args::Cli;
use crate::exit::Exit;

/// The commented config is also the reference of its keys.
const CONFIG: &str = include_str!("../../../../config/nightshift.toml");

pub fn run(directory: &Path) -> Result<Exit, CommandError> {
    write(directory).map_err(CommandError::failed(format!("cannot write {}", directory.display())))?;
    Ok(Exit::Good)
}

fn write(directory: &Path) -> io::Result<()> {
    let [man, completions, catalog, metrics] =
        ["man", "completions", "catalog", "metrics"].map(|name| directory.join(name));
    for subdirectory in [&man, &completions, &catalog, &metrics] {
        fs::create_dir_all(subdirectory)?;
    }
    clap_mangen::generate_to(Cli::command(), &man)?;
    fs::write(man.join("nightshift.toml.5"), config_page())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut visible(), "nightshift", &completions)?;
    }
    fs::write(metrics.join("alerts.yml"), alerts::rules())?;
    fs::write(metrics.join("nightshift.json"), format!("{:#}\n", board::board()))?;
    fs::write(catalog.join("nightshift.catalog"), nightshift_core::audit::catalog())
}

/// The command line without the commands that only nightshift itself runs, which clap_complete would offer.
fn visible() -> clap::Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("nightshift").args(all.get_arguments().cloned()).subcommands(shown)
}

/// nightshift.toml(5): the commented config, unformatted.
fn config_page() -> String {
    let mut page = String::from(
        ".TH nightshift.toml 5\n.SH NAME\nnightshift.toml \\- the config of nightshift(1)\n.SH DESCRIPTION\n\
         One TOML file, /etc/nightshift/nightshift.toml, and drop-ins /etc/nightshift/conf.d/*.toml, merged key \
         by key in the order of their names. Each key is shown with its default.\n\
         `nightshift check \\-\\-show` prints the effective settings.\n.PP\n.nf\n",
    );
    for line in CONFIG.lines() {
        // At the start of a line, a dot or a quote would be a roff request.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        page.push_str(guard);
        page.push_str(&line.replace('\\', "\\e").replace('-', "\\-"));
        page.push('\n');
    }
    page.push_str(".fi\n");
    page
}
