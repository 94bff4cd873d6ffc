#![allow(clippy::unwrap_used)]
use super::*;

fn argv(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[test]
fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let begun = Instant::now();
    // What it leaves in the background keeps its output open.
    let error = output_within(&argv("sleep 60 & sleep 60"), Duration::from_millis(200)).unwrap_err();
    assert!(error.contains("longer than"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_process_that_a_command_left_in_the_background_is_not_waited_for() {
    let begun = Instant::now();
    let _either = output_within(&argv("echo done; sleep 60 &"), Duration::from_millis(500));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
