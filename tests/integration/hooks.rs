//! Hooks: an operator's commands before and after stages and the night, run by a real daemon through their unit.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use kit::lab::Role::{Master, Node};
use kit::lab::cmd::poll;
use kit::site::{Plan, Site};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{SOON, ends_with, good, outcome, reason, verdict};
use crate::units::Unit;

/// A directory with the programs of hooks, and what they wrote.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    /// A hook with a shell script of this name, which runs in the directory.
    fn hook(&self, name: &str, at: &str, script: &str) -> String {
        let program = self.folder().join(name);
        fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", self.folder().display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        format!("[[hook]]\nname = \"{name}\"\n{at}\nargv = [\"{}\"]\n", program.display())
    }

    fn written(&self, file: &str) -> String {
        fs::read_to_string(self.folder().join(file)).unwrap_or_default()
    }

    fn write(&self, file: &str) {
        fs::write(self.folder().join(file), "").unwrap();
    }

    fn wait(&self, file: &str, site: &Site) {
        poll(file, SOON, || if self.folder().join(file).exists() { Ok(()) } else { Err(site.log("m1")) })
            .unwrap();
    }
}

fn site_with(hooks: &str) -> (Site, Unit) {
    let site = Plan::new(&[("m1", &[Master, Node])]).build().unwrap();
    let unit = Unit::listen(&site, "m1", "nightshift-hook", "hook.sock", "hook-run");
    site.drop_in("m1", "50-hooks.toml", hooks).unwrap();
    (site, unit)
}

fn hooks(status: &Value) -> &Value {
    &status["night"]["record"]["hooks"]
}

fn reasons(status: &Value) -> String {
    status["night"]["reasons"].to_string()
}

#[test]
fn hooks_run_before_a_stage_makes_its_set_and_after_it_with_its_outcome_and_those_of_the_night_once() {
    let programs = Programs::new();
    let write = |file: &str| {
        format!(
            "sets=$(find \"$(cat vault)\" -name manifest.json -path '*/node/*' | wc -l)\n\
             echo \"$NIGHTSHIFT_HOOK $NIGHTSHIFT_MOMENT $NIGHTSHIFT_STAGE $NIGHTSHIFT_HOST $NIGHTSHIFT_OUTCOME sets=$sets in=$(wc -c)\" >> {file}"
        )
    };
    // It takes long enough for every stage that is due to start, and to wait.
    let slow = format!("{}\nsleep 1", write("night"));
    let config = [
        programs.hook("first", "before = \"collect-node\"", &write("stage")),
        programs.hook("last", "after = \"collect-node\"", &write("stage")),
        programs.hook("all", "before = \"night\"", &slow),
        programs.hook("etcd", "after = \"snapshot-etcd\"", &write("stage")),
    ];
    let (mut site, unit) = site_with(&config.concat());
    fs::write(programs.folder().join("vault"), site.host("m1").vault().display().to_string()).unwrap();
    site.night().unwrap();
    let (_, status) = site.status("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{status:#}\n{}", unit.journal());
    let host = &site.host("m1").name;
    assert_eq!(
        programs.written("stage"),
        format!(
            "first before collect-node {host}  sets=0 in=0\nlast after collect-node {host} done sets=1 in=0\n"
        )
    );
    assert_eq!(programs.written("night"), format!("all before night {host}  sets=0 in=0\n"));
    assert_eq!(hooks(&status).as_array().unwrap().len(), 3, "{status:#}");
    assert!(site.log("m1").contains("hook last (after collect-node) done"), "{}", site.log("m1"));

    let listed = good(site.run("m1", &["hook"]).unwrap()).stdout;
    let line = |name: &str| {
        listed.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default().to_owned()
    };
    assert!(line("first").contains("before collect-node") && line("first").contains("done at"), "{listed}");
    assert!(line("etcd").contains("this host does not run the stage"), "{listed}");
    let plan = good(site.run("m1", &["plan"]).unwrap()).stdout;
    assert!(plan.contains("  all before night: $ ") && !plan.contains("etcd after"), "{plan}");
    let plan = good(site.run("m1", &["plan", "--json"]).unwrap()).stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let names: Vec<&str> =
        plan["hooks"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["first", "last", "all"], "{plan:#}");
}

#[test]
fn a_failed_hook_degrades_its_stage_and_the_night_and_a_required_one_fails_the_stage_until_it_succeeds() {
    let programs = Programs::new();
    let often = "echo x >> runs; [ $(wc -l < runs) -gt 1 ] || { echo 'not yet' >&2; exit 7; }";
    let config = [
        programs.hook(
            "soft",
            "before = \"collect-node\"",
            "echo; echo 'no such pool' >&2; echo more >&2; exit 3",
        ),
        programs.hook("hard", "before = \"collect-master\"\nrequired = true", often),
        programs.hook("early", "before = \"night\"", "exit 1"),
    ];
    let (mut site, unit) = site_with(&config.concat());
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "degraded"), "{status:#}");
    assert_eq!(outcome(&status, "collect-node"), "degraded");
    assert_eq!(reason(&status, "collect-node"), "hook soft: soft ended with exit code 3: no such pool");
    let all = reasons(&status);
    assert!(all.contains("hook-failed") && all.contains("hook early: early ended with exit code 1"), "{all}");
    assert!(all.contains("hook soft: soft ended with exit code 3") && !all.contains("hard"), "{all}");
    assert_eq!(outcome(&status, "collect-master"), "done", "{status:#}");
    assert_eq!(status["night"]["record"]["stages"]["collect-master"]["attempts"], 2);
    assert!(
        site.log("m1").contains("collect-master failed: hook hard: hard ended with exit code 7: not yet")
    );
    assert!(unit.journal().contains("no such pool\nmore"), "{}", unit.journal());
    let shown = site.run("m1", &["nights", status["night"]["record"]["night"].as_str().unwrap()]).unwrap();
    assert!(shown.stdout.contains("hook soft: soft ended"), "{shown:?}");
}

#[test]
fn a_timeout_kills_all_that_a_hook_started_and_its_output_is_bounded() {
    let programs = Programs::new();
    let config = [
        programs.hook(
            "hangs",
            "before = \"collect-node\"\ntimeout = \"1s\"",
            "sleep 600 & echo $$ $! > pids; sleep 601",
        ),
        programs.hook(
            "prints",
            "after = \"collect-node\"",
            "head -c 10485760 /dev/zero | tr '\\0' x; sleep 600 & echo $! > left",
        ),
    ];
    let (mut site, unit) = site_with(&config.concat());
    let begun = Instant::now();
    site.night().unwrap();
    let (_, status) = site.status("m1").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(reason(&status, "collect-node"), "hook hangs: hangs did not end within 1 s, and was killed");
    let started = programs.written("pids") + &programs.written("left");
    let pids: Vec<&str> = started.split_whitespace().collect();
    assert_eq!(pids.len(), 3, "{started}");
    poll("the end of all processes", SOON, || {
        let left: Vec<&&str> = pids.iter().filter(|pid| is_running(pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .unwrap();
    let journal = unit.journal();
    assert!(journal.contains("xxx") && journal.contains("the rest of the output is not shown"));
    assert!(journal.len() < 200_000, "{}", journal.len());
}

/// One that has ended and was not waited for does not run.
fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[test]
fn a_hook_of_the_night_runs_once_although_the_daemon_is_killed_in_the_middle_of_the_night() {
    let programs = Programs::new();
    let config = [
        programs.hook("once", "before = \"night\"", "echo x >> ran"),
        programs.hook(
            "waits",
            "before = \"collect-node\"",
            "touch waiting; while [ ! -e go ]; do sleep 0.1; done",
        ),
    ];
    let (mut site, _unit) = site_with(&config.concat());
    site.start("m1").unwrap();
    programs.wait("waiting", &site);
    site.host_mut("m1").daemon.take().unwrap().kill().unwrap();
    programs.write("go");
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{}", reasons(&status));
    assert_eq!(programs.written("ran"), "x\n");
}

#[test]
fn a_hook_after_the_night_runs_again_if_the_daemon_was_killed_before_its_end_and_its_failure_is_in_the_status()
 {
    let programs = Programs::new();
    let script = "echo $NIGHTSHIFT_NIGHT $NIGHTSHIFT_OUTCOME >> nights; echo $$ > pid\n\
                  while [ ! -e go ]; do sleep 0.1; done; echo too late >&2; exit 9";
    let (mut site, _unit) = site_with(&programs.hook("report", "after = \"night\"", script));
    site.between_nights("m1").unwrap();
    site.start("m1").unwrap();
    good(site.run("m1", &["run", "night", "--wait"]).unwrap());
    programs.wait("pid", &site);
    let (_, status) = site.status("m1").unwrap();
    assert_eq!((verdict(&status), &status["night"]["open"]), ("complete", &Value::from(false)));
    assert_eq!(hooks(&status)[0]["outcome"], Value::Null, "it is due");
    let first = programs.written("pid");
    site.host_mut("m1").daemon.take().unwrap().kill().unwrap();
    poll("the end of the first run", SOON, || {
        if is_running(first.trim()) { Err(first.clone()) } else { Ok(()) }
    })
    .unwrap();

    programs.write("go");
    site.start("m1").unwrap();
    let status = poll("the warning", SOON, || {
        let (code, status) = site.status("m1").unwrap();
        if code == 3 && !status["warnings"].as_array().is_none_or(Vec::is_empty) {
            Ok(status)
        } else {
            Err(site.log("m1"))
        }
    })
    .unwrap();
    let night = status["night"]["record"]["night"].as_str().unwrap().to_owned();
    assert_eq!(programs.written("nights"), format!("{night} complete\n{night} complete\n"));
    assert_eq!(status["warnings"][0]["code"], "hook-failed");
    let text = status["warnings"][0]["text"].as_str().unwrap();
    assert_eq!(text, format!("after night {night}: hook report: report ended with exit code 9: too late"));
    assert_eq!(verdict(&status), "complete", "the night has ended before");
    assert!(site.log("m1").contains("hook report (after night) failed"), "{}", site.log("m1"));

    site.stop_all().unwrap();
    site.start("m1").unwrap();
    let listed = good(site.run("m1", &["hook"]).unwrap()).stdout;
    assert!(listed.contains("failed at"), "{listed}");
    assert_eq!(programs.written("nights").lines().count(), 2, "it has ended, and does not run again");
}

#[test]
fn without_its_unit_a_hook_fails_with_the_remedy_and_check_names_what_is_wrong() {
    let programs = Programs::new();
    let config = programs.hook("soft", "before = \"collect-node\"", "true");
    let mut site = Plan::new(&[("m1", &[Master, Node])]).build().unwrap();
    site.drop_in("m1", "50-hooks.toml", &config).unwrap();
    site.night().unwrap();
    let (_, status) = site.status("m1").unwrap();
    let reason = reason(&status, "collect-node");
    assert!(reason.contains("run `systemctl start nightshift-hook.socket`"), "{reason}");
    let program = programs.folder().join("soft");
    for (mode, wrong) in [(0o644, "is not executable"), (0o777, "can be changed by other users")] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let checked = site.run("m1", &["check"]).unwrap();
        let warned = checked.stderr.contains(&format!("warning: hook soft: {} {wrong}", program.display()));
        assert!(warned && checked.stderr.contains("hooks cannot run: "), "{checked:?}");
    }
    let tested = ends_with(site.run("m1", &["hook", "--test", "soft"]).unwrap(), 1);
    assert!(tested.stderr.contains("systemctl start nightshift-hook.socket"), "{tested:?}");
}

#[test]
fn the_unit_runs_only_what_the_config_has_and_a_test_goes_the_same_way() {
    let programs = Programs::new();
    let config = [
        programs.hook("good", "after = \"night\"", "echo $NIGHTSHIFT_OUTCOME > tested"),
        programs.hook("bad", "before = \"collect-node\"", "echo broken >&2; exit 4"),
    ];
    let (site, _unit) = site_with(&config.concat());
    let tested = good(site.run("m1", &["hook", "--test", "good"]).unwrap());
    assert!(tested.stdout.starts_with("good: succeeded in"), "{tested:?}");
    assert_eq!(programs.written("tested"), "complete\n");
    let tested = ends_with(site.run("m1", &["hook", "--test", "bad"]).unwrap(), 1);
    assert!(tested.stderr.contains("bad ended with exit code 4: broken"), "{tested:?}");
    let unknown = ends_with(site.run("m1", &["hook", "--test", "ugly"]).unwrap(), 2);
    assert!(unknown.stderr.contains("its hooks are: good, bad"), "{unknown:?}");

    let socket = site.run_folder("m1").with_file_name("nightshift-hook").join("hook.sock");
    let ask = |request: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // It does not read to the end of one that is too long.
        let _closed = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    };
    let known = r#"{"hook":"good","at":{"moment":"after"},"night":"2026-11-22"}"#;
    assert_eq!(ask(&format!("{known}\n")), "\"succeeded\"\n");
    // A mistake elsewhere in the config stops no hook.
    site.drop_in("m1", "60-mistake.toml", "[stage.prunee]\n").unwrap();
    assert_eq!(ask(&format!("{known}\n")), "\"succeeded\"\n");
    for (request, refused) in [
        (known.replace("good", "ugly"), "the config has no hook ugly"),
        (known.replace("after", "before"), "in the config it is a hook after night"),
        (known.replacen('{', "{\"argv\":[\"/bin/sh\"],", 1), "not a request of the daemon"),
        (known.replace("good", "../../bin/sh"), "not a request of the daemon"),
        ("{".to_owned(), "not a request of the daemon"),
        (" ".repeat(1 << 20), "not a request of the daemon"),
    ] {
        let answer = ask(&format!("{request}\n"));
        assert!(answer.starts_with("{\"failed\":") && answer.contains(refused), "{answer}");
    }
}

#[test]
fn a_required_hook_before_the_night_holds_stages_back_until_it_succeeds_and_a_reload_adds_a_hook_at_once() {
    let programs = Programs::new();
    let often = "echo x >> runs; [ $(wc -l < runs) -gt 1 ] || exit 7";
    let at = "before = \"night\"\nrequired = true";
    let (mut site, _unit) = site_with(&programs.hook("space", at, often));
    site.night().unwrap();
    let (_, status) = site.status("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{}", reasons(&status));
    assert_eq!(programs.written("runs"), "x\nx\n", "the next stage runs it again, and then none does");
    assert!(
        site.log("m1").contains("failed: hook space: space ended with exit code 7"),
        "{}",
        site.log("m1")
    );

    let late = programs.hook("late", "after = \"collect-node\"", "touch late");
    site.drop_in("m1", "60-late.toml", &late).unwrap();
    good(site.run("m1", &["reload"]).unwrap());
    good(site.run("m1", &["run", "collect-node", "--again", "--wait"]).unwrap());
    programs.wait("late", &site);
    assert_eq!(programs.written("runs"), "x\nx\n");
}

#[test]
fn a_stop_of_the_daemon_waits_for_a_hook_that_runs_and_the_stage_follows_after_the_restart() {
    let programs = Programs::new();
    let config = [
        programs.hook(
            "slow",
            "before = \"collect-node\"",
            "echo begun >> slow.log; sleep 2; echo ended >> slow.log",
        ),
        programs.hook("last", "after = \"collect-node\"", "echo $NIGHTSHIFT_OUTCOME >> last.log"),
    ];
    let (mut site, _unit) = site_with(&config.concat());
    site.start("m1").unwrap();
    programs.wait("slow.log", &site);
    site.stop_all().unwrap();
    assert_eq!(programs.written("slow.log"), "begun\nended\n");
    assert_eq!(programs.written("last.log"), "", "the stage has not ended");
    site.start("m1").unwrap();
    let status = site.settle("m1").unwrap();
    assert_eq!(verdict(&status), "complete", "{}", reasons(&status));
    assert_eq!(programs.written("slow.log"), "begun\nended\nbegun\nended\n");
    assert_eq!(programs.written("last.log"), "done\n");
}
