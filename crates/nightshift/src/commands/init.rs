//! `nightshift init`: prints a first config, filled in.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::tz::TimeZone;
use nightshift_config::first_config;
use nightshift_core::ansible;
use nightshift_core::draft::{self, Draft, DraftError, Guess, Hosts};
use nightshift_core::read_bounded;
use nightshift_core::text::Text;
use nightshift_engine::machine;
use nightshift_etcd::discover::{DiscoverError, discover};
use nightshift_store::{StoreError, create_file};

use super::CommandError;
use crate::args::{Init, InitFrom};
use crate::exit::Exit;
use crate::{config_file, out, report};

/// Variables of an inventory that Ansible reads from beside it.
const BESIDE: [&str; 2] = ["group_vars", "host_vars"];

pub fn run(args: &Init) -> Result<Exit, CommandError> {
    let text = match &args.from {
        InitFrom { ansible: Some(path), .. } => from_ansible(path)?,
        InitFrom { nodes: Some(path), .. } => from_nodes(path)?,
        _ => from_host()?,
    };
    // As for input, `-` does not name a file.
    let Some(path) = args.output.as_ref().filter(|path| *path != Path::new("-")) else {
        out::print_text(text.trim_end());
        return Ok(Exit::Good);
    };
    match create_file(path, text.as_bytes()) {
        Ok(()) => {}
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CommandError::Usage(format!(
                "{} exists already and is not replaced; give another file, or omit --output to print the config",
                path.display()
            )));
        }
        Err(error) => return Err(error.into()),
    }
    out::print(format!(
        "{}: written; check each guess in it, then run `nightshift --config {} check`",
        path.display(),
        path.display()
    ));
    Ok(Exit::Good)
}

fn from_ansible(path: &Path) -> Result<String, CommandError> {
    let name = name_of(path);
    let as_file = format!("run `ansible-inventory -i {name} --list`, and give its output to --from-ansible");
    let text = read(path, &name, &as_file)?;
    let inventory = ansible::parse(&text).map_err(CommandError::failed(name.clone()))?;
    let draft = draft::of_inventory(&inventory).map_err(CommandError::failed(name.clone()))?;
    let directory = path.parent().filter(|_| path != Path::new("-"));
    let beside = directory.map(|directory| BESIDE.iter().any(|name| directory.join(name).is_dir()));
    if beside == Some(true) && !text.trim_start().starts_with('{') {
        out::print_error(&format!(
            "{name}: group_vars/ and host_vars/ beside it are not read; if addresses or ports are set there: \
             ansible-inventory -i {name} --list | nightshift init --from-ansible -"
        ));
    }
    written(&draft, &format!("--from-ansible {name}"))
}

fn from_nodes(path: &Path) -> Result<String, CommandError> {
    let name = name_of(path);
    let as_file = "give the output of `kubectl get nodes -o json` to --from-nodes";
    let draft = draft::of_nodes(&read(path, &name, as_file)?).map_err(CommandError::failed(name.clone()))?;
    written(&draft, &format!("--from-nodes {name}"))
}

fn from_host() -> Result<String, CommandError> {
    let has = |path: &str| Path::new(path).exists();
    // Where etcd's configuration is looked for is a default of the config.
    let probe = written(&of_this_host(has, Some(String::new()))?, "--from-host")?;
    let settings = config_file::load_text("the config", &probe, machine::hostname())?.settings;
    let etcd = match discover(&settings.etcd, Path::new("/")) {
        Ok(member) => Some(format!("the member at {}{}", member.endpoint, member.origin)),
        Err(DiscoverError::NothingFound { .. }) => None,
        Err(error) => Some(format!("its configuration, which cannot be used: {}", report::in_full(&error))),
    };
    let etcd = etcd.map(|etcd| Text::new(&etcd).as_str().to_owned());
    written(&of_this_host(has, etcd)?, "--from-host")
}

fn of_this_host(has: impl Fn(&str) -> bool, etcd: Option<String>) -> Result<Draft, CommandError> {
    draft::of_this_host(has, etcd).map_err(|error: DraftError| CommandError::Usage(error.to_string()))
}

/// The text of the config. One that does not load is an error: it would be of no use.
fn written(draft: &Draft, arguments: &str) -> Result<String, CommandError> {
    let zone = TimeZone::system();
    let zone = match zone.iana_name().filter(|name| TimeZone::get(name).is_ok()) {
        Some(name) => Guess::new(name, "Guess: the time zone of the machine on which `nightshift init` ran."),
        None => Guess::new(
            "UTC",
            "Guess: the time zone of the machine on which `nightshift init` ran is unknown.",
        ),
    };
    let text = first_config(draft, &zone, &format!("Written by `nightshift init {arguments}`."));
    let hostname = match &draft.hosts {
        Hosts::Cluster(hosts) => hosts.all().first().map_or_else(machine::hostname, ToString::to_string),
        Hosts::This(_) => machine::hostname(),
    };
    config_file::load_text("the config", &text, hostname)?;
    Ok(text)
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") {
        "-".to_owned()
    } else {
        Text::new(&path.display().to_string()).as_str().to_owned()
    }
}

/// Also from a pipe, such as a shell's `<(…)`. `as_file` is what to do about a directory.
fn read(path: &Path, name: &str, as_file: &str) -> Result<String, CommandError> {
    let source: io::Result<Box<dyn Read>> = if path == Path::new("-") {
        Ok(Box::new(io::stdin()))
    } else {
        File::open(path).map(|file| Box::new(file) as Box<dyn Read>)
    };
    let bytes = source.and_then(|source| read_bounded(source, ansible::MAX_LEN));
    let bytes = bytes.map_err(|source| match source.kind() {
        io::ErrorKind::IsADirectory => CommandError::Usage(format!("{name} is a directory; {as_file}")),
        _ => CommandError::Read { path: path.to_owned(), source },
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        CommandError::Usage(format!("{name}: line {line}: not UTF-8; convert the file, such as with iconv"))
    })
}
