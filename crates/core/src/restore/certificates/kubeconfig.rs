//! The client's certificate in a kubeconfig: that of its current context, else the first.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::files::Place;
use crate::etcd_config::yaml;
use crate::named_paths::normal;

pub struct Client {
    pub certificate: Place,
    pub key: Option<Place>,
    pub authorities: Vec<Place>,
}

/// `None` if it is not a kubeconfig, or its user has a token.
pub fn read(path: &str, text: &str) -> Option<Client> {
    let config: Value = yaml::parse(text).ok()?;
    let named = |list: &str, name: Option<&str>| {
        let all = config.get(list)?.as_array()?;
        let is_it = |entry: &&Value| name.is_some() && entry.get("name").and_then(Value::as_str) == name;
        all.iter().find(is_it).or_else(|| all.first())
    };
    let of = |entry: Option<&Value>, pointer: &str| entry?.pointer(pointer)?.as_str().map(str::to_owned);
    let context = named("contexts", config.get("current-context").and_then(Value::as_str));
    let user = named("users", of(context, "/context/user").as_deref());
    let cluster = named("clusters", of(context, "/context/cluster").as_deref());
    let place = |entry: Option<&Value>, parent: &str, name: &str| {
        let entry = entry?.get(parent)?;
        if let Some(data) = entry.get(format!("{name}-data")).and_then(Value::as_str) {
            let pem = STANDARD.decode(data.trim()).ok()?;
            return Some(Place::Inline { of: path.to_owned(), pem });
        }
        let file = entry.get(name)?.as_str().filter(|file| !file.is_empty())?;
        let file = normal(&Path::new(path).parent()?.join(file))?;
        Some(Place::File(file.display().to_string()))
    };
    Some(Client {
        certificate: place(user, "user", "client-certificate")?,
        key: place(user, "user", "client-key"),
        authorities: place(cluster, "cluster", "certificate-authority").into_iter().collect(),
    })
}
