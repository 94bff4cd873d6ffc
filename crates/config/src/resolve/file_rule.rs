//! One entry of a list of files, and the paths that no entry may name.

use nightshift_core::role::Role;
use nightshift_core::settings::{FileRule, Paths};
use toml::Spanned;

use crate::check;
use crate::raw::{FileEntry, FileTable};
use crate::refusal::Refusal;
use crate::sources::Span;

/// What the service's sandbox hides (`ProtectHome=tmpfs`).
const HIDDEN: [&str; 3] = ["/home", "/root", "/run/user"];
/// File systems that the kernel makes up.
const NO_FILES: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Where a drop-in may bind what the sandbox hides.
const BOUND: &str = "/run/nightshift-files";
/// Names in a set that are nightshift's own.
const RESERVED: [&str; 3] = ["manifest.json", "snapshot.db.gz", "snapshot.db.zst"];

/// A refusal, and the part of the entry that it is about.
pub(super) type Refused = (Option<Span>, Refusal);

pub(super) fn read(entry: &Spanned<FileEntry>, role: Role, paths: &Paths) -> Result<FileRule, Refused> {
    let table = match entry.get_ref() {
        FileEntry::Path(text) => {
            path(text, paths).map_err(|refusal| (Some(entry.span()), refusal))?;
            return Ok(FileRule::Path { path: text.clone(), alias: None, optional: false });
        }
        FileEntry::Table(table) => table,
    };
    let optional = table.optional.as_ref().is_some_and(|optional| *optional.get_ref());
    match (&table.path, &table.command) {
        (Some(text), None) => {
            let alias = path_alias(table, text, role)?;
            path(text.get_ref(), paths).map_err(|refusal| (Some(text.span()), refusal))?;
            Ok(FileRule::Path { path: text.get_ref().clone(), alias, optional })
        }
        (None, Some(command)) => {
            let argv = command.get_ref().iter().map(|word| word.get_ref().clone()).collect();
            let argv = argv_of(argv).map_err(|refusal| (Some(command.span()), refusal))?;
            let unnamed = || {
                let refusal = Refusal::new("a command's output needs a name in the set");
                (None, refusal.help("give it one, such as `as = \"packages.txt\"`"))
            };
            let alias = alias(table, role)?.ok_or_else(unnamed)?;
            Ok(FileRule::Command { argv, alias, optional })
        }
        (Some(_), Some(command)) => {
            let refusal = Refusal::new("`path` and `command` in one entry");
            Err((Some(command.span()), refusal.help("make two entries of it")))
        }
        (None, None) => {
            let refusal = Refusal::new("this entry names nothing");
            Err((None, refusal.help("give it a `path`, or a `command` with `as`")))
        }
    }
}

pub(super) fn is_folder(path: &str) -> bool {
    path.ends_with('/')
}

pub(super) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn path(text: &String, paths: &Paths) -> Result<(), Refusal> {
    check::path(text)?;
    if text == "/" {
        return Err(
            Refusal::new("`/` is the whole host").help("name the folders that it takes to rebuild it")
        );
    }
    if NO_FILES.iter().any(|folder| is_below(text, folder)) {
        return Err(Refusal::new(format!("`{text}` holds no files that could be restored"))
            .help("to keep what it shows, store a command's output: { command = [\"uname\", \"-a\"], as = \"kernel.txt\" }"));
    }
    if HIDDEN.iter().any(|folder| is_below(text, folder)) {
        return Err(hidden(text));
    }
    let keys = paths.config.join("ssh").display().to_string();
    if is_below(text, &keys) || (is_folder(text) && is_below(&keys, text.trim_end_matches('/'))) {
        return Err(Refusal::new(format!(
            "`{text}` would take in nightshift's own private keys, which lie in {keys}"
        ))
        .help("nightshift.toml and conf.d/ are in every set anyway; name the other folders one by one"));
    }
    Ok(())
}

/// The sandbox shows no home folders; a drop-in binds what is wanted to a place that it does show.
fn hidden(text: &str) -> Refusal {
    let source = text.trim_end_matches('/');
    let entry = if is_folder(text) || is_glob(text) {
        format!("\"{BOUND}{text}\"")
    } else {
        format!("{{ path = \"{BOUND}{text}\", as = \"{}\" }}", text.trim_start_matches('/'))
    };
    // systemd binds folders and files, not globs.
    let source = match source.find(['*', '?', '[', '{']) {
        Some(glob) => source[..glob].rsplit_once('/').map_or(source, |(folder, _)| folder),
        None => source,
    };
    Refusal::new(format!("`{text}` is hidden from the service, as all home folders are")).help(format!(
        "show it to the service elsewhere, by `systemctl edit nightshift.service`:\n[Service]\nBindReadOnlyPaths={source}:{BOUND}{source}\nand list it from there: {entry}"
    ))
}

fn path_alias(table: &FileTable, path: &Spanned<String>, role: Role) -> Result<Option<String>, Refused> {
    let alias = alias(table, role)?;
    let text = path.get_ref();
    let kind = if is_folder(text) {
        "a folder"
    } else if is_glob(text) {
        "a glob"
    } else {
        return Ok(alias);
    };
    match (&table.alias, alias) {
        (Some(written), Some(_)) => {
            let refusal = Refusal::new(format!("`as` names a single file, and `{text}` is {kind}"));
            Err((
                Some(written.span()),
                refusal.help("leave `as` out: its files lie in the set by their source path"),
            ))
        }
        _ => Ok(None),
    }
}

fn alias(table: &FileTable, role: Role) -> Result<Option<String>, Refused> {
    let Some(alias) = &table.alias else { return Ok(None) };
    let text = alias.get_ref();
    let refused = |why: String, help: &str| Err((Some(alias.span()), Refusal::new(why).help(help)));
    if text.is_empty() || text.starts_with('/') || text.ends_with('/') {
        return refused(
            format!("`{text}` names no file within the set"),
            "write a relative path, such as `root_cron`",
        );
    }
    check::straight(text).map_err(|refusal| (Some(alias.span()), refusal))?;
    if RESERVED.contains(&text.as_str()) {
        return refused(
            format!("`{text}` is a name that nightshift itself uses in a set of {role}"),
            "choose another one",
        );
    }
    Ok(Some(text.clone()))
}

fn argv_of(argv: Vec<String>) -> Result<Vec<String>, Refusal> {
    const HELP: &str =
        "write the program and its arguments one by one, such as `[\"rpm\", \"-qa\"]`: no shell is involved";
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(Refusal::new("this command names no program").help(HELP));
    };
    if program.contains(char::is_whitespace) {
        return Err(Refusal::new(format!("`{program}` is no program")).help(HELP));
    }
    if program.contains('/') && !program.starts_with('/') {
        return Err(Refusal::new(format!("`{program}` is a relative path"))
            .help("write it from the root, or its bare name to have it looked up"));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(Refusal::new("an argument holds a zero byte").help(HELP));
    }
    Ok(argv)
}
