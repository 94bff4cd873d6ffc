//! `nightshift generate DIR`: what the packages carry besides the binary, from the same definitions.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::CommandError;
use crate::args::Cli;
use crate::exit::Exit;

/// The commented config is its own reference.
const CONFIG: &str = include_str!("../../../../config/nightshift.toml");

pub fn run(folder: &Path) -> Result<Exit, CommandError> {
    let failed = |source| CommandError::Write { path: folder.to_owned(), source };
    let (man, completions, catalog) =
        (folder.join("man"), folder.join("completions"), folder.join("catalog"));
    for folder in [&man, &completions, &catalog] {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    clap_mangen::generate_to(Cli::command(), &man).map_err(failed)?;
    fs::write(man.join("nightshift.toml.5"), config_page()).map_err(failed)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "nightshift", &completions).map_err(failed)?;
    }
    fs::write(catalog.join("nightshift.catalog"), nightshift_core::audit::catalog()).map_err(failed)?;
    Ok(Exit::Good)
}

/// nightshift.toml(5): the commented config, set as it is.
fn config_page() -> String {
    let mut page = String::from(
        ".TH nightshift.toml 5\n.SH NAME\nnightshift.toml \\- the config of nightshift(1)\n.SH DESCRIPTION\n\
         One TOML file, /etc/nightshift/nightshift.toml, and drop-ins /etc/nightshift/conf.d/*.toml, merged key \
         by key in the order of their names. Each key is shown with its default.\n\
         `nightshift check \\-\\-show` prints what is in force.\n.PP\n.nf\n",
    );
    for line in CONFIG.lines() {
        // A leading dot or quote would be a request to the formatter.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        page.push_str(guard);
        page.push_str(&line.replace('\\', "\\e").replace('-', "\\-"));
        page.push('\n');
    }
    page.push_str(".fi\n");
    page
}
