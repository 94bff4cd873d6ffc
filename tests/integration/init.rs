//! The first config: printed, or written to a new file, and never over an existing one.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn inventory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/inventories").join(name)
}

fn init(words: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(kit::daemon::program().unwrap());
    command.arg("init").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments ends without reading it.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_first_config_of_an_inventory_loads_and_is_never_written_over_a_file() {
    let path = inventory("openshift-3.ini");
    let path = path.to_str().unwrap();
    let printed = init(&["--from-ansible", path], b"");
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let config = text(&printed.stdout);
    assert!(config.contains("masters = [\"master[1:3].blue.example.com\"]"), "{config}");
    assert!(!config.contains("HUNTER2"), "{config}");

    let to_stdout = init(&["--from-ansible", path, "--output", "-"], b"");
    assert_eq!((to_stdout.status.code(), text(&to_stdout.stdout)), (Some(0), config), "{to_stdout:?}");
    assert!(!Path::new("-").exists());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nightshift.toml");
    let name = "[this-host]\nname = \"master2.blue.example.com\"\n";
    let output = ["--from-ansible", path, "--output", file.to_str().unwrap()];
    let written = init(&output, b"");
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), config);
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    fs::write(directory.path().join("conf.d/50-name.toml"), name).unwrap();
    let program = kit::daemon::program().unwrap();
    let shown = Command::new(program).arg("--config").arg(&file).args(["check", "--show"]).output().unwrap();
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    assert!(text(&shown.stdout).contains("10.1.0.13"), "{}", text(&shown.stdout));

    fs::write(&file, "mine\n").unwrap();
    let refused = init(&output, b"");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let reason = text(&refused.stderr);
    assert!(
        reason.contains("exists already and is not replaced") && reason.contains("omit --output"),
        "{reason}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine\n");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn an_inventory_may_come_from_a_pipe_and_is_recognised_by_its_content() {
    for name in ["kubespray.yaml", "kubespray.yaml.list.json"] {
        let piped = init(&["--from-ansible", "-"], &fs::read(inventory(name)).unwrap());
        assert_eq!(piped.status.code(), Some(0), "{piped:?}");
        let config = text(&piped.stdout);
        for line in ["etcd = [\"node[1:3]\"]", "port = 2222", "address = \"10.10.1.3\" # access_ip"] {
            assert!(config.lines().any(|found| found == line), "{line} in {config}");
        }
    }
    let nodes = init(&["--from-nodes", "-"], &fs::read(inventory("nodes-kubeadm.json")).unwrap());
    assert!(text(&nodes.stdout).contains("masters = [\"cp[1:3]\"]"), "{nodes:?}");
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_what_to_do() {
    for (input, code, problem) in [
        (&b"[masters]\nm[3:1].example.com\n"[..], 1, "-: line 2: the range `[3:1]` is backwards"),
        (b"[masters]\nm1 ansible_pass: HUNTER2\n", 1, "line 2: expected NAME=VALUE"),
        (b"[web]\nw1\n", 1, "it has web; rename a group"),
        (b"\xff\n", 2, "-: line 1: not UTF-8"),
    ] {
        let failed = init(&["--from-ansible", "-"], input);
        let reason = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(code), "{reason}");
        assert!(reason.contains(problem) && !reason.contains("HUNTER2"), "{reason}");
        assert!(failed.stdout.is_empty());
    }
    let directory = tempfile::tempdir().unwrap();
    let of_directory = init(&["--from-ansible", directory.path().to_str().unwrap()], b"");
    assert!(
        text(&of_directory.stderr).contains("is a directory; run `ansible-inventory -i "),
        "{of_directory:?}"
    );
    assert_eq!(init(&["--from-ansible", "/not/there"], b"").status.code(), Some(1));
    assert_eq!(init(&[], b"").status.code(), Some(2));
    assert_eq!(init(&["--from-host", "--from-nodes", "-"], b"").status.code(), Some(2));
}

#[test]
fn variables_beside_an_inventory_are_not_read_and_that_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hosts");
    fs::write(&file, "[masters]\nm1.example.com\n").unwrap();
    let plain = init(&["--from-ansible", file.to_str().unwrap()], b"");
    assert_eq!((plain.status.code(), text(&plain.stderr)), (Some(0), ""));
    fs::create_dir(directory.path().join("group_vars")).unwrap();
    let beside = init(&["--from-ansible", file.to_str().unwrap()], b"");
    assert_eq!(beside.status.code(), Some(0));
    assert!(text(&beside.stderr).contains("are not read; if addresses or ports are set there"), "{beside:?}");
}
