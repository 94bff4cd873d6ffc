//! etcd's own configuration file in YAML (`--config-file`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

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
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
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

/// The options of such a file as flags, such as `peer-cert-file`, each with its value.
pub(super) fn flags(text: &str) -> Result<Vec<(String, String)>, serde_saphyr::Error> {
    let table: BTreeMap<String, Value> = parse(text)?;
    let mut flags = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                let prefix = TABLES.iter().find(|(name, _)| *name == key).map(|(_, prefix)| prefix);
                let inner =
                    inner.into_iter().filter_map(|(key, value)| Some((format!("{}{key}", prefix?), value)));
                flags.extend(inner.filter_map(|(flag, value)| Some((flag, value.text()?))));
            }
            value => flags.extend(value.text().map(|text| (key, text))),
        }
    }
    Ok(flags)
}

impl Value {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Flag(flag) => Some(flag.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Table(_) | Self::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
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
