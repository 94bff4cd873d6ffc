//! The status for programs: JSON with a schema, a plugin of monitoring, and one line.

use std::fs;
use std::path::Path;

use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::{Plan, Site};
use nightshift_core::reason::ReasonCode;
use serde_json::Value;

use crate::support::{ends_with, good};

fn schema() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("packaging/status.schema.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The faults of a document by the schema, and its fields that the schema does not name.
fn faults(schema: &Value, status: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    let invalid = validator.iter_errors(status).map(|error| format!("{}: {error}", error.instance_path()));
    let unnamed = |fields: &Value, of: &Value| -> Vec<String> {
        let fields = fields.as_object().into_iter().flatten().map(|(name, _)| name.clone());
        fields.filter(|name| of["properties"].get(name).is_none()).collect()
    };
    let unnamed =
        [unnamed(status, schema), unnamed(&status["night"], &schema["$defs"]["night_report"])].concat();
    invalid.chain(unnamed.into_iter().map(|name| format!("{name} is not in the schema"))).collect()
}

fn json(site: &Site, host: &str) -> Value {
    site.status(host).unwrap().1
}

#[test]
fn the_json_of_a_good_a_bad_and_a_missing_night_is_as_its_schema_says() {
    let schema = schema();
    let codes: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(schema["$defs"]["reason"]["properties"]["code"]["enum"], Value::from(codes));

    let plan: &[(&str, &[_])] = &[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(plan).build().unwrap();
    let before = json(&site, "m1");
    assert_eq!(faults(&schema, &before), [""; 0], "{before:#}");
    assert_eq!(
        (&before["format"], &before["warnings"][0]["code"]),
        (&Value::from(1), &Value::from("daemon-down"))
    );

    site.night().unwrap();
    let after = json(&site, "m1");
    assert_eq!(faults(&schema, &after), [""; 0], "{after:#}");
    let mut wrong = after.clone();
    wrong["night"]["verdict"] = Value::from("splendid");
    wrong["new"] = Value::from(1);
    assert_eq!(faults(&schema, &wrong).len(), 2);
}

#[test]
fn an_archive_that_is_not_shipped_has_its_code_in_the_json_and_makes_a_plugin_warn() {
    let mut site = Plan::new(&[("m1", &[Master]), ("backup", &[BackupServer])]).build().unwrap();
    site.drop_in("m1", "50-retries.toml", "[stage.ship-archive]\nretries = 0\n").unwrap();
    site.host_mut("backup").sshd.down();
    site.night().unwrap();
    let status = json(&site, "m1");
    assert_eq!(faults(&schema(), &status), [""; 0], "{status:#}");
    let reasons = status["night"]["reasons"].as_array().unwrap();
    let codes: Vec<&str> = reasons.iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["archive-not-shipped", "stage-failed"], "{status:#}");
    let ran = ends_with(site.run("m1", &["status", "--plugin"]).unwrap(), 1).stdout;
    assert!(ran.starts_with("NIGHTSHIFT WARNING - night ") && ran.contains(" is not on remote "), "{ran}");
    assert!(ran.lines().next().unwrap().contains("sets_missing=0;;;0"), "{ran}");
    let line = ends_with(site.run("m1", &["status", "--line"]).unwrap(), 3).stdout;
    let end = "(and 1 more); run: nightshift status";
    assert!(line.contains(": WARNING: night ") && line.trim_end().ends_with(end), "{line}");
}

#[test]
fn a_plugin_has_the_four_states_of_monitoring_and_performance_data() {
    let mut site = Plan::new(&[("m1", &[Master])]).build().unwrap();
    site.night().unwrap();
    let fine = good(site.run("m1", &["status", "--plugin"]).unwrap()).stdout;
    let (text, data) = fine.trim_end().split_once(" | ").unwrap();
    assert!(text.starts_with("NIGHTSHIFT OK - night ") && text.contains(" complete, "), "{fine}");
    for item in data.split(' ') {
        let (name, value) = item.split_once('=').unwrap();
        assert!(!name.is_empty() && value.ends_with(";;;0"), "{data}");
    }
    let line = good(site.run("m1", &["status", "--line"]).unwrap()).stdout;
    assert!(line.starts_with("nightshift on m1.site.test: night ") && line.lines().count() == 1, "{line}");

    site.host_mut("m1").daemon.take().unwrap().kill().unwrap();
    let down = ends_with(site.run("m1", &["status", "--plugin"]).unwrap(), 2).stdout;
    assert!(down.starts_with("NIGHTSHIFT CRITICAL - the daemon does not run"), "{down}");
    // A user who may use the socket of a daemon may not read the records.
    let records = site.host("m1").state().join("records");
    fs::rename(&records, records.with_extension("away")).unwrap();
    fs::write(&records, "").unwrap();
    let down = ends_with(site.run("m1", &["status", "--plugin"]).unwrap(), 2).stdout;
    assert!(down.starts_with("NIGHTSHIFT CRITICAL - the daemon does not run"), "{down}");
    // One that hangs opens no night either.
    let socket = site.run_folder("m1").join("control.sock");
    let _gone = fs::remove_file(&socket);
    let hung = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let silent = ends_with(site.run("m1", &["status", "--plugin"]).unwrap(), 2).stdout;
    assert!(silent.starts_with("NIGHTSHIFT CRITICAL - the daemon did not respond"), "{silent}");
    drop(hung);
    site.drop_in("m1", "50-wrong.toml", "[vault]\nmin-free = \"lots|0\"\n").unwrap();
    let invalid = ends_with(site.run("m1", &["status", "--plugin"]).unwrap(), 2).stdout;
    assert!(invalid.starts_with("NIGHTSHIFT CRITICAL - ") && !invalid.contains('|'), "{invalid}");
    assert_eq!(invalid.lines().count(), 1, "{invalid}");
    let unknown = ends_with(site.run("m1", &["status", "--plugin", "--bogus"]).unwrap(), 3).stdout;
    assert!(unknown.starts_with("NIGHTSHIFT UNKNOWN - invalid arguments"), "{unknown}");
    let program = kit::daemon::program().unwrap();
    let mut command = std::process::Command::new(program);
    command.arg("--config").arg(site.run_folder("m1").join("none.toml")).args(["status", "--plugin"]);
    let full = command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(full.status().unwrap().code(), Some(3), "a full device");
    let watched = ends_with(site.run("m1", &["status", "--watch"]).unwrap(), 2);
    assert!(watched.stderr.contains("--watch needs a terminal"), "{watched:?}");
}
