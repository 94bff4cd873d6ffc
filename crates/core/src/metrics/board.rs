//! A board for Grafana, on the metrics of the table.

mod panels;

use serde_json::{Value, json};

use panels::{PANELS, Panel, Shown};

/// Four panels in a row of Grafana's 24 columns.
const WIDTH: usize = 6;
const HEIGHT: usize = 7;

/// The board as JSON that Grafana imports.
pub fn board() -> Value {
    let panels: Vec<Value> = PANELS.iter().enumerate().map(|(at, panel)| shown(at, panel)).collect();
    json!({
        "title": "nightshift",
        "uid": "nightshift",
        "tags": ["backup"],
        "schemaVersion": 36,
        "time": { "from": "now-14d", "to": "now" },
        "refresh": "5m",
        "templating": { "list": [{
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
        }] },
        "panels": panels,
    })
}

/// All queries, to test them against a Prometheus.
pub fn queries() -> Vec<String> {
    PANELS.iter().map(|panel| panel.query.text()).collect()
}

fn shown(at: usize, Panel { title, unit, shown, query, legend }: &Panel) -> Value {
    let (kind, format, steps) = match shown {
        Shown::RedFrom(limit) => ("stat", "time_series", colours("green", "red", *limit)),
        Shown::RedBelow(limit) => ("stat", "time_series", colours("red", "green", *limit)),
        Shown::Table => ("table", "table", colours("green", "green", 0.0)),
        Shown::Graph => ("timeseries", "time_series", colours("green", "green", 0.0)),
    };
    json!({
        "id": at + 1,
        "title": title,
        "type": kind,
        "datasource": { "type": "prometheus", "uid": "${datasource}" },
        "gridPos": { "x": at % 4 * WIDTH, "y": at / 4 * HEIGHT, "w": WIDTH, "h": HEIGHT },
        "fieldConfig": {
            "defaults": { "unit": unit, "thresholds": { "mode": "absolute", "steps": steps } },
            "overrides": [],
        },
        "targets": [{
            "refId": "A",
            "expr": query.text(),
            "legendFormat": legend,
            "format": format,
            "instant": !matches!(shown, Shown::Graph),
        }],
    })
}

fn colours(first: &str, then: &str, limit: f64) -> Value {
    json!([{ "color": first, "value": null }, { "color": then, "value": limit }])
}
