//! `nightshift restore object`: objects of a snapshot, through the API server of a living cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use nightshift_core::units::count;
use nightshift_objects::api::Api;
use nightshift_objects::files::{self, Converter};
use nightshift_objects::found::Found;
use nightshift_objects::item::{Item, State, items};
use nightshift_objects::proxy::{Kubectl, Proxy};
use nightshift_objects::restore::Restore;
use nightshift_objects::shown::masked;
use nightshift_objects::source::Source;
use nightshift_objects::wanted::Wanted;
use tokio::signal::unix::{SignalKind, signal};

use super::object_copy::{self, Copy};
use super::to_etcd;
use crate::args::{Cluster, RestoreObject};
use crate::commands::yaml::yaml;
use crate::commands::{CommandError, here};
use crate::exit::Exit;
use crate::{out, report};

pub fn run(config: &Path, args: &RestoreObject) -> Result<Exit, CommandError> {
    let wanted = Wanted::parse(&args.what, args.namespace.as_deref()).map_err(CommandError::Usage)?;
    let keys = if args.to_etcd { to_etcd::keys(&wanted)? } else { Vec::new() };
    let copy = object_copy::open(config, args)?;
    if args.to_etcd {
        return here(to_etcd::run(config, &keys, &copy, args.yes));
    }
    let Copy { what, database, keyring } = copy;
    let source = Source::new(database, keyring);
    let found = source.find(&wanted)?;
    if let Some(finding) = found.findings.kept.first() {
        return Err(CommandError::Absent(format!(
            "{what}: {finding}; parts of the snapshot are damaged, use another copy or night"
        )));
    }
    out::print(format!("from {what}, revision {}", found.revision));
    for (key, reason) in &found.unusable {
        out::print_error(&format!("{}: {reason}", String::from_utf8_lossy(key)));
    }
    if let Some(reason) = wanted.unmet(&found) {
        return Err(CommandError::Absent(reason));
    }
    let is_namespace = matches!(wanted, Wanted::Namespace(_));
    here(until_stopped(async {
        match &args.to {
            Some(directory) => write(args, &source, found, directory).await,
            None => through_server(args, &source, found, is_namespace).await,
        }
    }))
}

/// Ends on a signal as on an error, so that the proxy and its socket are removed.
async fn until_stopped<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let listen = |kind| signal(kind).map_err(CommandError::failed("cannot handle signals"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let stopped = || CommandError::Absent("interrupted; the same command continues".to_owned());
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Err(stopped()),
        _ = terminate.recv() => Err(stopped()),
        _ = hangup.recv() => Err(stopped()),
    }
}

impl From<&Cluster> for Kubectl {
    fn from(cluster: &Cluster) -> Self {
        Self {
            program: cluster.kubectl.clone(),
            kubeconfig: cluster.kubeconfig.clone(),
            context: cluster.context.clone(),
        }
    }
}

async fn through_server(
    args: &RestoreObject,
    source: &Source<File>,
    found: Found,
    is_namespace: bool,
) -> Result<Exit, CommandError> {
    let kubectl = Kubectl::from(&args.cluster);
    let server = kubectl.server().await;
    let proxy = Proxy::start(&kubectl).await?;
    let mut restore = Restore::begin(Api::at(&proxy.socket()), source, args.without_owners).await?;
    let server = server.unwrap_or_else(|| "the API server".to_owned());
    out::print(format!("to   {server}, Kubernetes {}", restore.version));
    let unusable = found.unusable.len();
    let mut items = items(found.objects, is_namespace);
    restore.preview(&mut items).await?;
    print(&items);
    if args.show {
        show(&items)?;
    }
    let open = items.iter().filter(|item| item.state.is_open()).count();
    if open == 0 {
        out::print("nothing to create");
        return Ok(exit(&items, unusable));
    }
    if !(args.yes || out::confirm(&format!("Create {}?", count(open, "object")))) {
        out::print_error("nothing was created; answer y, or use --yes");
        return Ok(Exit::Failed);
    }
    let ended = restore.create(&mut items, &mut |item| out::print(line(item))).await;
    // What was created before a connection broke off is reported too.
    let sum = |word: &str| items.iter().filter(|item| item.state.word() == word).count();
    let words = ["created", "exists", "skipped", "refused"].map(|word| format!("{} {word}", sum(word)));
    out::print(words.join(", "));
    ended?;
    Ok(exit(&items, unusable))
}

fn exit(items: &[Item], unusable: usize) -> Exit {
    let is_there = |item: &Item| matches!(item.state, State::Created | State::Exists);
    let has_refused = unusable > 0 || items.iter().any(|item| matches!(item.state, State::Refused(_)));
    match (has_refused, items.iter().any(is_there)) {
        (false, _) => Exit::Good,
        (true, true) => Exit::Degraded,
        (true, false) => Exit::Failed,
    }
}

/// What is skipped comes last, by kind: a namespace may have thousands of events.
fn print(items: &[Item]) {
    let mut skipped: BTreeMap<(&str, &str), Vec<&Item>> = BTreeMap::new();
    let mut rows = Vec::new();
    for item in items {
        match &item.state {
            State::Skipped(reason) => {
                skipped.entry((item.object.meta.kind.as_str(), reason)).or_default().push(item);
            }
            state => rows.push(vec![item.object.to_string(), state.word().to_owned(), details(item)]),
        }
    }
    rows.extend(skipped.into_iter().map(|((kind, reason), items)| {
        let object = match items.as_slice() {
            [item] => item.object.to_string(),
            items => format!("{} of kind {kind}", items.len()),
        };
        vec![object, "skipped".to_owned(), reason.to_owned()]
    }));
    out::print_table(&["OBJECT", "STATE", "DETAILS"], rows);
}

fn details(item: &Item) -> String {
    let details = std::iter::once(item.state.reason()).chain(item.notes.iter().map(String::as_str));
    details.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

fn line(item: &Item) -> String {
    let (word, details) = (item.state.word(), details(item));
    let separator = if details.is_empty() { "" } else { "; " };
    format!("{}: {word}{separator}{details}", item.object)
}

fn show(items: &[Item]) -> Result<(), CommandError> {
    for item in items {
        if let State::New(object) = &item.state {
            out::print_text(&format!("---\n{}", yaml(&masked(object))?.trim_end()));
        }
    }
    Ok(())
}

/// Writes files. Without an API server, objects that are stored as protobuf stay protobuf.
async fn write(
    args: &RestoreObject,
    source: &Source<File>,
    found: Found,
    directory: &Path,
) -> Result<Exit, CommandError> {
    files::create_directory(directory)?;
    let proxy = Proxy::start(&Kubectl::from(&args.cluster)).await;
    let converter = match &proxy {
        Ok(proxy) => {
            let api = Api::at(&proxy.socket());
            let server = Restore::begin(api.clone(), source, false).await;
            server.map(|server| Converter::new(api, server.has_dry_run)).map_err(CommandError::from)
        }
        Err(error) => Err(CommandError::Absent(report::in_full(error))),
    };
    let mut converter = match converter {
        Ok(converter) => Some(converter),
        Err(error) => {
            out::print_error(&format!(
                "cannot use an API server: {}; objects that are stored as protobuf are written as stored",
                report::in_full(&error)
            ));
            None
        }
    };
    let mut raw = 0;
    for object in &found.objects {
        let written = files::write(source, object, converter.as_mut(), directory).await?;
        let reason = written.raw.map_or_else(String::new, |reason| {
            raw += 1;
            format!(", as stored (protobuf): {reason}")
        });
        let owners = &object.meta.owners;
        let owned = owners.first().map_or_else(String::new, |owner| {
            format!(", owned by {owner}: remove ownerReferences if that is gone")
        });
        out::print(format!("{object}: {}{reason}{owned}", written.path.display()));
    }
    Ok(if raw > 0 || !found.unusable.is_empty() { Exit::Degraded } else { Exit::Good })
}
