//! etcd's options by the names of its environment variables, wherever they are written: etcd.conf, etcd.conf.yml, flags or a
//! pod's env.

pub mod pod;
pub mod yaml;

use std::collections::BTreeMap;

/// The manifests of etcd's static pod: OpenShift 3.10 and 3.11, and kubeadm.
pub const POD_MANIFESTS: [&str; 2] =
    ["/etc/origin/node/pods/etcd.yaml", "/etc/kubernetes/manifests/etcd.yaml"];

/// Configuration files of etcd besides `[etcd] conf`: kubespray's, Debian's, etcd's own YAML, k3s's and RKE2's.
pub const CONF_FILES: [&str; 6] = [
    "/etc/etcd.env",
    "/etc/default/etcd",
    "/etc/etcd/etcd.conf.yml",
    "/etc/etcd/etcd.conf.yaml",
    "/var/lib/rancher/k3s/server/db/etcd/config",
    "/var/lib/rancher/rke2/server/db/etcd/config",
];

/// `ETCD_NAME` → `etcd1.example.com`. A flag `--name` is the variable `ETCD_NAME`, as etcd itself has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// The options with the CA by which a client verifies a member.
    pub const CA: [&str; 4] =
        ["ETCD_TRUSTED_CA_FILE", "ETCD_CA_FILE", "ETCD_PEER_TRUSTED_CA_FILE", "ETCD_PEER_CA_FILE"];

    /// The options with a client's certificate and key, the first pair first: the peer's, else the server's; but the server's first where the
    /// peers have a CA of their own (k3s, RKE2), whose certificates the client port does not accept.
    pub fn client_pairs(&self) -> [[&'static str; 2]; 2] {
        const PEER: [&str; 2] = ["ETCD_PEER_CERT_FILE", "ETCD_PEER_KEY_FILE"];
        const SERVER: [&str; 2] = ["ETCD_CERT_FILE", "ETCD_KEY_FILE"];
        let ca = self.first(&["ETCD_TRUSTED_CA_FILE", "ETCD_CA_FILE"]);
        let of_peers = self.first(&["ETCD_PEER_TRUSTED_CA_FILE", "ETCD_PEER_CA_FILE"]);
        let have_their_own = ca.zip(of_peers).is_some_and(|(ca, of_peers)| ca != of_peers);
        if have_their_own { [SERVER, PEER] } else { [PEER, SERVER] }
    }

    /// The value of the first of `names` that is set and not empty.
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name)).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn set(&mut self, name: &str, value: &str) {
        // An empty variable counts as not set: etcd.conf lists many of them.
        if name.starts_with("ETCD_") && !value.is_empty() {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    pub fn set_flag(&mut self, flag: &str, value: &str) {
        self.set(&format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_")), value);
    }

    /// Reads a configuration file of etcd: an environment file, or YAML.
    pub fn read(text: &str) -> Result<Self, serde_saphyr::Error> {
        let mut options = Self::default();
        if yaml::is_yaml(text) {
            yaml::flags(text)?.iter().for_each(|(flag, value)| options.set_flag(flag, value));
        } else {
            options.read_environment(text);
        }
        Ok(options)
    }

    /// Reads an environment file as both systemd and a shell's `source` do: `KEY="value"`, `#` and `;` start a comment, and the
    /// last value of a key counts.
    pub fn read_environment(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            if let Some((name, value)) = line.split_once('=') {
                self.set(name.trim(), unquoted(value.trim()));
            }
        }
    }
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.split(quote).next()) {
            return inner;
        }
    }
    // What follows a space is a comment or another word, never part of the value.
    value.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_is_read_with_its_quotes_comments_and_empty_values() {
        let mut options = Options::default();
        options.read_environment(
            "# ETCD_NAME=commented\nETCD_NAME=one # the first\n ETCD_DATA_DIR=\"/var/lib/etcd/\"\n\
             ETCD_WAL_DIR=\n#[Security]\nexport ETCD_CA_FILE='/etc/etcd/ca.crt'\nPATH=/bin\nnonsense\nETCD_NAME=two\n",
        );
        let all: Vec<_> = options.iter().collect();
        assert_eq!(
            all,
            [("ETCD_CA_FILE", "/etc/etcd/ca.crt"), ("ETCD_DATA_DIR", "/var/lib/etcd/"), ("ETCD_NAME", "two")]
        );
    }
}
