//! A real Prometheus scrapes the socket's command and node_exporter, and runs every query of the board.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kit::daemon::program;
use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::lab::cmd::{Cmd, Running, poll};
use kit::port;
use kit::site::Plan;
use serde_json::Value;

/// For what takes a moment.
const SOON: Duration = Duration::from_secs(20);
/// For Prometheus' start and its first scrapes.
const SCRAPED: Duration = Duration::from_secs(60);

/// Whether Prometheus and what belongs to it are there.
pub fn programs() -> bool {
    let missing = ["prometheus", "promtool", "prometheus-node-exporter", "systemd-socket-activate", "curl"]
        .into_iter()
        .find(|program| Cmd::new(program).arg("--version").run().is_err());
    kit::require(missing.map_or(Ok(()), |program| Err(format!("{program} is not installed"))))
}

/// What nightshift-metrics.socket and its service do, without systemd: a process for each connection.
fn serve(listen: &str, report: &Path) -> Running {
    Cmd::new("systemd-socket-activate")
        .args(["--accept", "--inetd", "--listen", listen])
        .arg(program().unwrap())
        .arg("metrics-serve")
        .arg(report)
        .spawn(Stdio::null())
        .unwrap()
}

fn exporter(address: &str, directory: &Path) -> Running {
    Cmd::new("prometheus-node-exporter")
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", directory.display()))
        .arg(format!("--web.listen-address={address}"))
        .spawn(Stdio::null())
        .unwrap()
}

fn prometheus(address: &str, directory: &Path, targets: &[&str]) -> Running {
    let config = directory.join("prometheus.yml");
    let targets = serde_json::to_string(targets).unwrap();
    let text = format!(
        "global: {{ scrape_interval: 1s }}\nrule_files: [metrics/alerts.yml]\nscrape_configs:\n\
         - job_name: nightshift\n  static_configs: [{{ targets: {targets} }}]\n"
    );
    fs::write(&config, text).unwrap();
    Cmd::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()))
        .arg(format!("--web.listen-address={address}"))
        .spawn(Stdio::null())
        .unwrap()
}

fn get(words: &[&str]) -> Result<String, String> {
    let curl = Cmd::new("curl").args(["--silent", "--show-error", "--fail", "--max-time", "5"]).args(words);
    curl.run().map(|output| output.text()).map_err(|error| error.to_string())
}

/// The series that a query gives.
fn query(address: &str, query: &str) -> Result<Vec<Value>, String> {
    let query = format!("query={query}");
    let text = get(&["--get", "--data-urlencode", &query, &format!("http://{address}/api/v1/query")])?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    Ok(answer["data"]["result"].as_array().unwrap().clone())
}

#[test]
fn prometheus_scrapes_the_socket_and_node_exporter_and_every_query_of_the_board_runs() {
    if !programs() {
        return;
    }
    let plan: &[(&str, &[_])] = &[("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(plan).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let textfiles = folder.path().join("textfiles");
    fs::create_dir(&textfiles).unwrap();
    let config = format!("[metrics]\ntextfile = \"{}/nightshift.prom\"\n", textfiles.display());
    site.drop_in("m1", "50-metrics.toml", &config).unwrap();
    site.night().unwrap();
    Cmd::new(program().unwrap()).arg("generate").arg(folder.path()).run().unwrap();

    let report = site.host("m1").state().join("metrics/status.json");
    let [tcp, nodes, address] = [(); 3].map(|()| format!("127.0.0.1:{}", port::free()));
    let unix = folder.path().join("metrics.sock").display().to_string();
    let _running = [
        serve(&tcp, &report),
        serve(&unix, &report),
        exporter(&nodes, &textfiles),
        prometheus(&address, folder.path(), &[&tcp, &nodes]),
    ];
    let over_unix = poll("curl --unix-socket", SOON, || get(&["--unix-socket", &unix, "http://m1/metrics"]));
    let over_unix = over_unix.unwrap() + "\n";
    assert!(over_unix.contains("nightshift_daemon_up 1"));
    Cmd::new("promtool").args(["check", "metrics"]).stdin(over_unix).run().unwrap();
    let refused = get(&[&format!("http://{tcp}/")]).unwrap_err();
    assert!(refused.contains("404"), "{refused}");

    // Both doors give the same series.
    let doors = poll("both are scraped", SCRAPED, || {
        let found = query(&address, "nightshift_sets_missing{role=\"node\"} == 0")?;
        if found.len() == 2 { Ok(found) } else { Err(format!("{found:?}")) }
    });
    println!("{:?}", doors.unwrap());
    let board = fs::read_to_string(folder.path().join("metrics/nightshift.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let mut empty = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        if query(&address, panel["targets"][0]["expr"].as_str().unwrap()).unwrap().is_empty() {
            empty.push(panel["title"].as_str().unwrap());
        }
    }
    // The night has not closed yet, its one member has no others to compare with, its certificates are no real ones, and
    // it has no target for notices.
    let unknown = [
        "Last verdict",
        "Age of the last restorable night",
        "Since the last night closed",
        "etcd agreement",
        "Certificates",
        "Age of the last notification",
    ];
    assert_eq!(empty, unknown);
    let alerts = get(&[&format!("http://{address}/api/v1/rules")]).unwrap();
    assert!(alerts.contains("NightshiftStale") && !alerts.contains("\"state\":\"firing\""), "{alerts}");
}
