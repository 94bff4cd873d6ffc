//! `[[notify]]`: where notices are sent.

use std::path::PathBuf;

use nightshift_core::address::host_and_port;
use nightshift_core::name::TargetName;
use nightshift_core::notify::{MailPath, Secret, Target, TargetKind, Topic};
use toml::Spanned;

use super::argv::argv;
use super::names::Names;
use crate::ledger::Ledger;
use crate::nearest::nearest;
use crate::raw::{self, Leaf, Table};
use crate::refusal::Refusal;
use crate::sources::Span;
use crate::{check, defaults, units};

const KINDS: [&str; 4] = ["ping", "webhook", "mail", "command"];
const MAX_TARGETS: usize = 16;
/// How a command is written.
const ARGV: &str = r#"["/usr/local/bin/notify", "--quiet"]"#;

pub(crate) fn targets(raw: &raw::Config, ledger: &mut Ledger<'_>) -> Vec<Target> {
    let mut names = Names::new("target", "the queue, the status and the metric");
    let mut targets = Vec::new();
    for table in names.at_most(MAX_TARGETS, &raw.notify, "let one receiver distribute the notices", ledger) {
        let Some(target) = target(table, ledger) else { continue };
        names.add(target.name.as_str(), table, &table.get_ref().name, ledger);
        targets.push(target);
    }
    targets
}

fn target(table: &Spanned<Table<raw::Notify>>, ledger: &mut Ledger<'_>) -> Option<Target> {
    let raw: &raw::Notify = table.get_ref();
    for (key, absent) in [("name", raw.name.is_none()), ("kind", raw.kind.is_none())] {
        if absent {
            let refusal = Refusal::new(format!("this target has no `{key}`"))
                .help(format!("a target needs `name` and `kind`: {}", KINDS.join(", ")));
            ledger.missing(Some(&table.span()), refusal);
        }
    }
    let shown = raw.name.as_ref().map_or("", |name| name.get_ref());
    ledger.section(format!("[[notify]]  # {}", shown.escape_default()));
    let name = ledger.take_optional("name", &raw.name, "", |text| Ok(text.parse::<TargetName>()?));
    let kind = ledger.take_optional("kind", &raw.kind, "", kind_word);
    let kind = kind.and_then(|word| {
        refuse_keys_of_others(&word, raw, ledger);
        kind_of(&word, raw, &table.span(), ledger)
    });
    let is_ping = matches!(kind, Some(TargetKind::Ping { .. }));
    let events = ledger.take_list("events", &raw.events, || Target::default_events(is_ping), topic);
    if let Some(list) = raw.events.as_ref().filter(|list| list.get_ref().is_empty()) {
        let refusal = Refusal::new("`events` is empty, so nothing is sent to this target");
        ledger.refuse(
            Some(&list.span()),
            refusal.help("remove it for the events of the default, or remove the target"),
        );
    }
    // A ping has every night, without this key.
    let every_night =
        !is_ping && ledger.take("every-night", &raw.every_night, defaults::NOTIFY_EVERY_NIGHT, check::any);
    let give_up =
        ledger.take("give-up", &raw.give_up, defaults::NOTIFY_GIVE_UP, |text| units::some_duration(text));
    Some(Target { name: name?, kind: kind?, events, every_night, give_up })
}

fn kind_word(text: &String) -> Result<String, Refusal> {
    if KINDS.contains(&text.as_str()) {
        return Ok(text.clone());
    }
    Err(Refusal::new(format!("invalid value `{text}` for `kind`"))
        .meant(nearest(text, KINDS))
        .help(format!("write one of: {}", KINDS.join(", "))))
}

fn topic(text: &str) -> Result<Topic, Refusal> {
    let words = Topic::ALL.into_iter().filter(|topic| *topic != Topic::Test);
    let found = words.clone().find(|topic| topic.as_str() == text);
    found.ok_or_else(|| {
        Refusal::new(format!("`{text}` is not an event"))
            .meant(nearest(text, words.clone().map(Topic::as_str)))
            .help(format!("write some of: {}", words.map(Topic::as_str).collect::<Vec<_>>().join(", ")))
    })
}

/// A key that another kind has is a mistake: it would have no effect.
fn refuse_keys_of_others(kind: &str, raw: &raw::Notify, ledger: &mut Ledger<'_>) {
    let keys: [(&str, Option<Span>, &[&str]); 10] = [
        ("url", raw.url.as_ref().map(Spanned::span), &["ping", "webhook", "mail"]),
        ("url-file", raw.url_file.as_ref().map(Spanned::span), &["ping", "webhook", "mail"]),
        ("url-credential", raw.url_credential.as_ref().map(Spanned::span), &["ping", "webhook", "mail"]),
        ("format", raw.format.as_ref().map(Spanned::span), &["webhook"]),
        ("ca", raw.ca.as_ref().map(Spanned::span), &["ping", "webhook", "mail"]),
        ("from", raw.from.as_ref().map(Spanned::span), &["mail"]),
        ("to", raw.to.as_ref().map(Spanned::span), &["mail"]),
        ("sendmail", raw.sendmail.as_ref().map(Spanned::span), &["mail"]),
        ("argv", raw.argv.as_ref().map(Spanned::span), &["command"]),
        ("every-night", raw.every_night.as_ref().map(Spanned::span), &["webhook", "mail", "command"]),
    ];
    for (key, span, kinds) in keys {
        if span.is_some() && !kinds.contains(&kind) {
            let refusal = Refusal::new(format!("`{key}` has no effect on a target of kind `{kind}`"))
                .help(format!("remove it; it belongs to kind {}", kinds.join(", ")));
            ledger.refuse(span.as_ref(), refusal);
        }
    }
}

fn kind_of(kind: &str, raw: &raw::Notify, span: &Span, ledger: &mut Ledger<'_>) -> Option<TargetKind> {
    match kind {
        "ping" => Some(TargetKind::Ping { url: required_url(raw, HTTP, span, ledger)?, ca: ca(raw, ledger) }),
        "webhook" => {
            let url = required_url(raw, HTTP, span, ledger);
            let format = ledger.take("format", &raw.format, defaults::NOTIFY_FORMAT, check::any);
            if let Some(url) = raw.url.as_ref().filter(|url| !format.fits(url.get_ref())) {
                let refusal = Refusal::new("`url` is not that of an Alertmanager");
                ledger.refuse(Some(&url.span()), refusal.help("write it with `/api/v2/alerts` at its end"));
            }
            Some(TargetKind::Webhook { url: url?, format, ca: ca(raw, ledger) })
        }
        "mail" => mail(raw, span, ledger),
        _ => {
            require("argv", raw.argv.is_some(), span, ledger);
            let argv = argv("argv", &raw.argv, ARGV, ledger);
            (!argv.is_empty()).then_some(TargetKind::Command { argv })
        }
    }
}

fn mail(raw: &raw::Notify, span: &Span, ledger: &mut Ledger<'_>) -> Option<TargetKind> {
    require("from", raw.from.is_some(), span, ledger);
    require("to", raw.to.is_some(), span, ledger);
    let from = ledger.take_optional("from", &raw.from, "", |text| mail_address(text));
    let to = ledger.take_list("to", &raw.to, Vec::new, mail_address);
    let url = url(raw, SMTP, ledger);
    if url.is_some() && raw.sendmail.is_some() {
        let refusal = Refusal::new("this target has a URL and `sendmail`").help("remove one of the two");
        ledger.refuse(Some(span), refusal);
    }
    let path = match url {
        Some(url) => Some(MailPath::Smtp { url, ca: ca(raw, ledger) }),
        // It was refused.
        None if has_url(raw) => None,
        None => {
            require("url, url-file, url-credential or sendmail", raw.sendmail.is_some(), span, ledger);
            Some(MailPath::Sendmail(argv("sendmail", &raw.sendmail, ARGV, ledger)))
        }
    };
    if raw.to.is_some() && to.is_empty() {
        ledger.refuse(Some(span), Refusal::new("`to` names no valid address"));
    }
    Some(TargetKind::Mail { from: from?, to, path: path? })
}

fn require(key: &str, is_set: bool, span: &Span, ledger: &mut Ledger<'_>) {
    if !is_set {
        let refusal = Refusal::new(format!("this target has no `{key}`"));
        ledger.missing(
            Some(span),
            refusal.help("a target of its kind needs it; see the comments in nightshift.toml"),
        );
    }
}

fn ca(raw: &raw::Notify, ledger: &mut Ledger<'_>) -> Option<PathBuf> {
    ledger.take_optional("ca", &raw.ca, "the certificates of the system", check::path)
}

fn mail_address(text: &str) -> Result<String, Refusal> {
    let is_plain = text.chars().all(|c| c.is_ascii_graphic() && !"<>,;:\"()[]\\".contains(c));
    let has_both = text.split_once('@').is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty());
    if is_plain && has_both && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(format!("invalid mail address `{text}`")).help("write it as `user@example.com`"))
}

/// The schemes of a URL.
type Schemes = [&'static str; 2];
const HTTP: Schemes = ["https://", "http://"];
const SMTP: Schemes = ["smtps://", "smtp://"];

fn required_url(raw: &raw::Notify, schemes: Schemes, span: &Span, ledger: &mut Ledger<'_>) -> Option<Secret> {
    require("url, url-file or url-credential", has_url(raw), span, ledger);
    url(raw, schemes, ledger)
}

fn has_url(raw: &raw::Notify) -> bool {
    raw.url.is_some() || raw.url_file.is_some() || raw.url_credential.is_some()
}

fn url(raw: &raw::Notify, schemes: Schemes, ledger: &mut Ledger<'_>) -> Option<Secret> {
    let set: Vec<Span> = [&raw.url, &raw.url_file, &raw.url_credential]
        .into_iter()
        .filter_map(|leaf: &Leaf<String>| leaf.as_ref().map(Spanned::span))
        .collect();
    if let [_, second, ..] = &set[..] {
        let refusal = Refusal::new("this target has more than one of `url`, `url-file` and `url-credential`");
        ledger.refuse(Some(second), refusal.help("remove all but one"));
    }
    if raw.url.is_some() {
        let url = ledger.take_optional("url", &raw.url, "", |text| inline(text, schemes));
        url.map(Secret::Inline)
    } else if raw.url_file.is_some() {
        ledger.take_optional("url-file", &raw.url_file, "", url_file).map(Secret::File)
    } else if raw.url_credential.is_some() {
        let name = ledger.take_optional("url-credential", &raw.url_credential, "", |text| credential(text));
        name.map(Secret::Credential)
    } else {
        None
    }
}

/// Every set contains the config, and so does each master's vault.
fn inline(text: &str, schemes: Schemes) -> Result<String, Refusal> {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = rest else {
        return Err(Refusal::new(format!("`url` does not begin with {}", schemes.join(" or "))));
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        // The message does not repeat the password.
        return Err(Refusal::new("this URL contains a login")
            .help("write the URL into a file that only root and the group nightshift-notify can read, and set `url-file`"));
    }
    let is_plain = text.chars().all(|c| c.is_ascii_graphic() && c != '#');
    if !is_plain || text.len() > 2000 {
        return Err(Refusal::new("`url` is not a valid URL").help("write it without spaces, and without `#`"));
    }
    if host_and_port(authority).is_none() {
        return Err(Refusal::new("`url` has no host, or an invalid port")
            .help("write the host after `://`; a port is a number from 1 to 65535"));
    }
    Ok(text.to_owned())
}

/// The message does not repeat what may be the URL itself.
fn url_file(text: &String) -> Result<PathBuf, Refusal> {
    if !text.starts_with('/') {
        return Err(Refusal::new("`url-file` is not an absolute path")
            .help("write the path of a file that contains the URL"));
    }
    check::path(text)
}

fn credential(text: &str) -> Result<String, Refusal> {
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !text.is_empty() && is_name && !text.starts_with('.') {
        return Ok(text.to_owned());
    }
    // It may be the URL itself.
    Err(Refusal::new("`url-credential` is not the name of a credential")
        .help("write the name in `LoadCredential=NAME:FILE` of a drop-in for nightshift-notify@.service"))
}
