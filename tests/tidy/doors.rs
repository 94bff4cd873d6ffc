//! What only one file may do.

use crate::rule::{Source, enforce, enforce_but_in};

fn names_exit_codes(file: &Source) -> Vec<String> {
    if !file.in_crate("nightshift") {
        return Vec::new();
    }
    file.code(|line| line.contains("process::exit") || line.contains("ExitCode::from"))
}

#[test]
fn only_the_exit_module_names_exit_codes() {
    enforce_but_in(
        &[("crates/nightshift/src/exit.rs", "the exit codes, in one place")],
        |file| [names_exit_codes(file), file.code(|line| line.contains("for ExitCode"))].concat(),
        &[
            ("crates/nightshift/src/a.rs", "fn f() { std::process::exit(1); }"),
            ("crates/nightshift/src/a.rs", "fn f() -> ExitCode { ExitCode::from(1) }"),
            ("crates/nightshift/src/a.rs", "impl From<u8> for ExitCode {}"),
        ],
        &[("crates/nightshift/src/a.rs", "fn f() -> ExitCode { run() } // ExitCode::from(1)")],
    );
}

/// A call of a function that puts an error and its causes into one text, or a walk down the causes by hand.
fn reads_causes(file: &Source) -> Vec<String> {
    let calls = |line: &str| {
        let is_chain =
            |at: usize| !line[..at].ends_with(|c: char| c == '.' || c == '_' || c.is_alphanumeric());
        line.match_indices("chain(").any(|(at, _)| is_chain(at))
    };
    // `Database::source` is a file.
    let walks = |line: &str| line.replace("database.source()", "").contains(".source()");
    let binary = file.in_crate("nightshift");
    if file.in_crate("xtask") { Vec::new() } else { file.code(|line| walks(line) || binary && calls(line)) }
}

#[test]
fn causes_of_errors_become_text_in_one_place_and_the_binary_prints_them_in_one() {
    enforce_but_in(
        &[
            ("crates/nightshift/src/report.rs", "what the binary prints"),
            ("crates/core/src/chain.rs", "the text itself, for the record and the journal"),
            ("crates/etcd/src/error.rs", "reads the cause of a gRPC status: it decides whether to retry"),
        ],
        reads_causes,
        &[
            ("crates/nightshift/src/a.rs", "fn f(e: E) { say(nightshift_core::chain(&e)); }"),
            ("crates/nightshift/src/a.rs", "fn f(e: E) { say(chain(&e)); }"),
            ("crates/engine/src/a.rs", "fn f(e: E) { e.source(); }"),
        ],
        &[
            ("crates/nightshift/src/a.rs", "fn f() { once(1).chain(two()); database.source(); }"),
            ("crates/engine/src/a.rs", "fn f(e: E) -> End { End::failed(chain(&e)) }"),
        ],
    );
}

fn syncs_a_disk(file: &Source) -> Vec<String> {
    file.code(|line| {
        ["sync_all(", "sync_data(", "fs::fsync(", "fdatasync(", "syncfs("]
            .iter()
            .any(|sync| line.contains(sync))
    })
}

#[test]
fn what_is_written_is_synced_in_the_named_places_alone() {
    enforce_but_in(
        &[
            (
                "crates/store/src/sync.rs",
                "all but those of `ssh`, which does not use the store; `nightshift_no_sync` takes them out",
            ),
            ("crates/ssh/src/identity.rs", "a new private key"),
            ("crates/ssh/src/known_hosts/pin.rs", "a new line of known_hosts"),
        ],
        syncs_a_disk,
        &[
            ("crates/engine/src/a.rs", "fn f(file: File) { file.sync_all(); }"),
            ("crates/engine/src/a.rs", "fn f(file: File) { rustix::fs::fdatasync(file); }"),
        ],
        &[("crates/engine/src/a.rs", "fn f(sftp: Sftp) { sftp.fsync(path); } // sync_all()")],
    );
}

fn knows_toml_or_russh(file: &Source) -> Vec<String> {
    let names = |line: &str, name: &str| {
        line.match_indices(name).any(|(at, _)| {
            let alone = |c: char| c != '_' && !c.is_alphanumeric();
            line[..at].chars().next_back().is_none_or(alone)
                && line[at + name.len()..].chars().next().is_none_or(|c| c == '_' || alone(c))
        })
    };
    let toml =
        file.code(|line| names(line, "toml") && (line.contains("toml::") || line.contains("use toml")));
    let russh = file.code(|line| names(line, "russh"));
    let [toml, russh] = [("config", toml), ("ssh", russh)]
        .map(|(home, found)| if file.in_crate(home) { Vec::new() } else { found });
    [toml, russh].concat()
}

#[test]
fn only_config_reads_toml_and_only_ssh_speaks_ssh() {
    enforce(
        knows_toml_or_russh,
        &[
            ("crates/engine/src/a.rs", "use toml::Value;"),
            ("crates/nightshift/src/a.rs", "fn f() { toml::from_str(x); }"),
            ("crates/engine/src/a.rs", "use russh_sftp::client;"),
        ],
        &[
            ("crates/config/src/a.rs", "use toml::Value;"),
            ("crates/ssh/src/a.rs", "use russh::client;"),
            ("crates/engine/src/a.rs", "fn f(toml: &str) { filter(\"russh=error\"); }"),
        ],
    );
}

/// A user who can change the path of a file chooses the file whose owner is changed.
fn changes_an_owner(file: &Source) -> Vec<String> {
    if file.in_crate("xtask") { Vec::new() } else { file.code(|line| line.contains("chown")) }
}

#[test]
fn owners_of_files_are_changed_in_the_named_place_alone() {
    enforce_but_in(
        &[
            (
                "crates/ssh/src/known_hosts/pin.rs",
                "known_hosts, replaced in a directory of root, keeps its owner; by descriptor",
            ),
            (
                "crates/restore/src/target/attributes.rs",
                "new files of a restore, by descriptor: a link that another user puts there is not followed",
            ),
        ],
        changes_an_owner,
        &[
            ("crates/engine/src/a.rs", "use std::os::unix::fs::chown;"),
            ("crates/engine/src/a.rs", "fn f() { std::os::unix::fs::lchown(a, None, None); }"),
            ("crates/store/src/a.rs", "fn f() { rustix::fs::chownat(a, b, None, None, flags); }"),
        ],
        &[("crates/store/src/a.rs", "/// Instead of chown.\nfn f() { become_owner_of(state); }")],
    );
}
