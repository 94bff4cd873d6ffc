//! Stand-ins for `kubectl` and for an API server behind `kubectl proxy`: requests on a socket, which are logged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// The kinds that it serves: API version, kind, plural, whether in namespaces.
const KINDS: [(&str, &str, &str, bool); 5] = [
    ("v1", "Namespace", "namespaces", false),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("v1", "Secret", "secrets", true),
    ("v1", "ConfigMap", "configmaps", true),
    ("apps/v1", "Deployment", "deployments", true),
];

pub struct ApiServer {
    state: Arc<Mutex<State>>,
    /// The program that connects to it.
    pub kubectl: PathBuf,
    pids: PathBuf,
}

#[derive(Default)]
struct State {
    minor: &'static str,
    /// Objects by their path.
    objects: BTreeMap<String, Value>,
    /// Each POST: its path, then the name of the object.
    log: Vec<String>,
    /// The last body posted for real, by the name of its object.
    bodies: BTreeMap<String, Vec<u8>>,
}

impl ApiServer {
    pub fn start(directory: &Path, minor: &'static str) -> Self {
        let socket = directory.join("api.sock");
        let objects = [("/api/v1/namespaces/default".to_owned(), json!({}))].into();
        let state = Arc::new(Mutex::new(State { minor, objects, ..State::default() }));
        let (listener, shared) = (UnixListener::bind(&socket).unwrap(), Arc::clone(&state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A probe connects and sends nothing.
                if let Some((line, body)) = request(&stream) {
                    let (status, answer) = shared.lock().unwrap().answer(&line, &body);
                    let text = answer.to_string();
                    let head = format!(
                        "HTTP/1.1 {status} OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        text.len()
                    );
                    let _gone = (&stream).write_all((head + &text).as_bytes());
                }
            }
        });
        let (kubectl, pids) = (directory.join("kubectl"), directory.join("pids"));
        // The link comes last: it is what the client waits for.
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*proxy*)\n  for last; do :; done\n  path=${{last#--unix-socket=}}\n  \
             stat -c %a \"$(dirname \"$path\")\" > {mode}\n  echo $$ >> {pids}\n  ln -s {socket} \"$path\"\n  exec sleep 600;;\n\
             *) echo https://api.site.test:6443;;\nesac\n",
            socket = socket.display(),
            mode = directory.join("mode").display(),
            pids = pids.display(),
        );
        fs::write(&kubectl, script).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        Self { state, kubectl, pids }
    }

    /// The POST requests since the last call.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    pub fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub fn body(&self, name: &str) -> Vec<u8> {
        self.state.lock().unwrap().bodies[name].clone()
    }

    /// The proxies that still run.
    pub fn proxies(&self) -> Vec<String> {
        let pids = fs::read_to_string(&self.pids).unwrap();
        let runs = |pid: &&str| Path::new("/proc").join(pid).exists();
        pids.lines().filter(runs).map(str::to_owned).collect()
    }
}

/// The first line without the protocol, and the body.
fn request(stream: &UnixStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let line = first.trim_end().strip_suffix(" HTTP/1.1")?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().to_lowercase() {
            end if end.is_empty() => break,
            header => {
                if let Some(value) = header.strip_prefix("content-length: ") {
                    length = value.parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((line, body))
}

impl State {
    fn answer(&mut self, line: &str, body: &[u8]) -> (u16, Value) {
        let (method, target) = line.split_once(' ').unwrap();
        let path = target.split('?').next().unwrap();
        match (method, path) {
            ("GET", "/version") => (200, json!({ "major": "1", "minor": self.minor })),
            ("GET", path) if path.ends_with("/forbidden") => refused(403, "Forbidden", "you may not read it"),
            ("GET", path) => match self.objects.get(path) {
                Some(object) => (200, object.clone()),
                None => {
                    resources(path).map_or_else(|| refused(404, "NotFound", "not found"), |list| (200, list))
                }
            },
            (_, path) => self.create(path, target, body),
        }
    }

    fn create(&mut self, path: &str, target: &str, body: &[u8]) -> (u16, Value) {
        // Of protobuf, which only a real server reads, this one finds the name by its bytes.
        let mut object: Value = serde_json::from_slice(body).unwrap_or_else(|_| {
            let names = [("token", "shop"), ("nightshift-dry-run", "default")];
            let has = |name: &str| body.windows(name.len()).any(|window| window == name.as_bytes());
            let (name, namespace) = names.into_iter().find(|(name, _)| has(name)).unwrap();
            json!({ "apiVersion": "v1", "kind": "Secret", "data": { "password": "aHVudGVyMg==" },
                    "metadata": { "name": name, "namespace": namespace } })
        });
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.log.push(format!("{target} {name}"));
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        if !namespace.is_empty() && !self.objects.contains_key(&format!("/api/v1/namespaces/{namespace}")) {
            return refused(404, "NotFound", "namespaces not found");
        }
        let item = format!("{path}/{name}");
        if self.objects.contains_key(&item) {
            return refused(409, "AlreadyExists", "already exists");
        }
        object["metadata"]["uid"] = format!("new-{name}").into();
        if !target.ends_with("?dryRun=All") {
            self.objects.insert(item, object.clone());
            self.bodies.insert(name, body.to_vec());
        }
        (201, object)
    }
}

fn resources(path: &str) -> Option<Value> {
    let version = path.strip_prefix("/api/").or_else(|| path.strip_prefix("/apis/"))?;
    let of_version = KINDS.iter().filter(|(listed, ..)| *listed == version);
    let list: Vec<Value> = of_version
        .map(|(_, kind, plural, namespaced)| {
            json!({ "name": plural, "kind": kind, "namespaced": namespaced, "verbs": ["create", "get"] })
        })
        .collect();
    (!list.is_empty()).then(|| json!({ "resources": list }))
}

fn refused(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (code, json!({ "kind": "Status", "reason": reason, "message": message, "code": code }))
}
