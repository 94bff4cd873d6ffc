//! Each fuzz target over its corpus and over mutations of it. The corpus is `corpus/<target>/`: samples, and whatever once
//! made a target fail. A file ending in `.gz` is unpacked first.

mod mutate;

use std::fs;
use std::io::Read as _;
use std::panic;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use mutate::Mutator;

const MUTATIONS: u64 = 10_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = here().join("corpus").join(target);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let unpacked = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file of the corpus");
        if path.extension().is_none_or(|extension| extension != "gz") {
            return bytes;
        }
        let mut unpacked = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).expect("a gzip file");
        unpacked
    };
    files.into_iter().map(unpacked).collect()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a target over its corpus and over mutations of it, which are the same in each run.
fn run(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    for seed in &corpus {
        check(target, body, seed);
    }
    let mut mutator = Mutator::new(&corpus);
    for _ in 0..MUTATIONS {
        check(target, body, &mutator.next());
    }
}

fn check(target: &str, body: fn(&[u8]), input: &[u8]) {
    if let Err(reason) = panic::catch_unwind(|| body(input)) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
        fs::write(&path, input).expect("a file in the target directory");
        eprintln!("the input that {target} fails on is {}; add it to the corpus", path.display());
        panic::resume_unwind(reason);
    }
}

macro_rules! targets {
    ($($target:ident: $sentence:ident),* $(,)?) => {
        $(
            #[test]
            fn $sentence() {
                run(stringify!($target), nightshift_fuzz::$target);
            }
        )*

        #[test]
        fn each_target_has_a_program_for_libfuzzer() {
            let programs = fs::read_dir(here().join("libfuzzer/src/bin")).expect("the programs");
            let mut programs: Vec<String> = programs
                .map(|entry| entry.expect("a program").path())
                .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
                .collect();
            programs.sort();
            assert_eq!(programs, [$(stringify!($target)),*]);
        }
    };
}

targets! {
    archive: an_archive_never_leads_out_of_its_directory_or_unpacks_to_more_than_it_contains,
    control: a_line_of_the_control_socket_is_decoded_or_refused_by_a_response,
    hint: a_hint_keeps_its_value_and_can_be_compared_at_any_time,
    known_hosts: a_host_key_is_trusted_only_where_a_valid_file_pins_it,
    manifest: a_manifest_keeps_its_value_and_no_path_leaves_its_set,
    proof: a_proof_keeps_its_value_and_counts_for_its_own_set_alone,
    record: a_record_keeps_its_value_open_and_closed,
    snapshot: both_readers_of_a_snapshot_agree,
    snapshot_change: a_change_is_never_larger_than_the_value_it_was_read_from,
}
