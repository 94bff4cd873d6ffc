//! etcd's own configuration file in YAML (`--config-file`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Options;

/// The tables of such a file, and the prefix of their keys' flags.
const TABLES: [(&str, &str); 2] = [("client-transport-security", ""), ("peer-transport-security", "peer-")];

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Table(BTreeMap<String, Self>),
    Text(String),
    Flag(bool),
    Number(f64),
    /// A list or nothing, which no option that is needed here has.
    Other(serde::de::IgnoredAny),
}

/// Whether the first line that is not a comment begins with a key of YAML.
pub(super) fn is_yaml(text: &str) -> bool {
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    lines.next().is_some_and(|line| {
        let key = line
            .split(|c: char| !(c.is_ascii_alphanumeric() || "-_'\"".contains(c)))
            .next()
            .unwrap_or_default();
        line == "---" || line[key.len()..].trim_start().starts_with(':')
    })
}

/// Parses YAML. The budget is larger than any configuration or pod needs, and bounds the cost of a hostile one.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let limits = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_events: 20_000,
            max_nodes: 10_000,
            max_depth: 64,
            max_anchors: 0,
            max_aliases: 0,
        },
    };
    serde_saphyr::from_str_with_options(text, limits)
}

pub(super) fn read(text: &str, options: &mut Options) -> Result<(), serde_saphyr::Error> {
    let table: BTreeMap<String, Value> = parse(text)?;
    for (key, value) in &table {
        match value {
            Value::Table(inner) => {
                let prefix = TABLES.iter().find(|(name, _)| name == key);
                for (inner_key, value) in inner.iter().filter(|_| prefix.is_some()) {
                    set(options, &format!("{}{inner_key}", prefix.map_or("", |(_, prefix)| prefix)), value);
                }
            }
            value => set(options, key, value),
        }
    }
    Ok(())
}

fn set(options: &mut Options, flag: &str, value: &Value) {
    match value {
        Value::Text(text) => options.set_flag(flag, text),
        Value::Flag(flag_value) => options.set_flag(flag, &flag_value.to_string()),
        Value::Number(number) => options.set_flag(flag, &number.to_string()),
        Value::Table(_) | Value::Other(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "# etcd's sample\nname: 'm1'\ndata-dir: /var/lib/etcd\nquota-backend-bytes: 0\n\
        listen-client-urls: https://10.0.0.1:2379,https://127.0.0.1:2379\ncors:\n\
        client-transport-security:\n  cert-file: /etc/etcd/server.crt\n  client-cert-auth: true\n\
        peer-transport-security:\n  cert-file: /etc/etcd/peer.crt\nlog-outputs: [stderr]\n";

    #[test]
    fn options_are_read_from_yaml_with_the_tables_of_their_certificates() {
        let options = Options::read(CONF).unwrap();
        for (name, value) in [
            ("ETCD_NAME", "m1"),
            ("ETCD_DATA_DIR", "/var/lib/etcd"),
            ("ETCD_LISTEN_CLIENT_URLS", "https://10.0.0.1:2379,https://127.0.0.1:2379"),
            ("ETCD_CERT_FILE", "/etc/etcd/server.crt"),
            ("ETCD_CLIENT_CERT_AUTH", "true"),
            ("ETCD_PEER_CERT_FILE", "/etc/etcd/peer.crt"),
        ] {
            assert_eq!(options.first(&[name]), Some(value), "{name}");
        }
    }

    #[test]
    fn an_environment_file_is_not_taken_for_yaml() {
        for text in
            ["ETCD_NAME=a\n", "# a: b\nexport ETCD_NAME='a: b'\n", "", "ETCD_INITIAL_CLUSTER=a=http://x:1\n"]
        {
            assert!(!is_yaml(text), "{text}");
        }
        for text in ["---\nname: a\n", "name: a", "\"name\": a", "name : a"] {
            assert!(is_yaml(text), "{text}");
        }
        assert!(Options::read("name: [").is_err());
    }
}
