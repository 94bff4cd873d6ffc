//! The body of a webhook, in each format.

use jiff::SignedDuration;
use serde_json::{Value, json as object};

use super::{Notice, Severity, Topic, WebhookFormat};
use crate::night::Night;

/// An alert that is not resolved by a later notice ends by itself after this: Alertmanager would end one without an end after
/// five minutes, because it expects its sender to repeat it.
const ALERT_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The body, and the end of the URL's path that is part of it: ntfy takes the topic in the body. `None`: this format has nothing to
/// say about this notice.
pub fn webhook(format: WebhookFormat, notice: &Notice, topic: &str) -> Option<Value> {
    match format {
        WebhookFormat::Json => Some(json(notice)),
        WebhookFormat::Slack => Some(object!({ "text": slack(notice) })),
        WebhookFormat::Ntfy => Some(ntfy(notice, topic)),
        WebhookFormat::Alertmanager => alerts(notice),
    }
}

/// The notice as it is in the queue, without its format's housekeeping.
pub fn json(notice: &Notice) -> Value {
    let mut value = object!({
        "format": notice.format,
        "id": notice.id,
        "event": notice.topic,
        "severity": notice.severity,
        "resolved": notice.resolved,
        "cluster": notice.cluster,
        "host": notice.host,
        "at": notice.at,
        "title": notice.title,
        "text": notice.text,
    });
    let optional = [
        ("subject", notice.subject.as_ref().map(|subject| object!(subject))),
        ("night", notice.night.as_ref().map(|night| object!(night))),
        ("verdict", notice.verdict.as_ref().map(|verdict| object!(verdict))),
    ];
    for (key, field) in optional {
        if let Some(field) = field {
            value[key] = field;
        }
    }
    value
}

/// Slack takes `&`, `<` and `>` for its own markup.
fn slack(notice: &Notice) -> String {
    let sign = match (notice.resolved, notice.severity) {
        (true, _) => ":white_check_mark:",
        (_, Severity::Info) => ":information_source:",
        (_, Severity::Warning) => ":warning:",
        (_, Severity::Critical) => ":rotating_light:",
    };
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = format!("{sign} *{}*\n{}", escaped(&notice.title), escaped(&notice.text));
    text.trim_end().to_owned()
}

fn ntfy(notice: &Notice, topic: &str) -> Value {
    let (priority, tag) = match (notice.resolved, notice.severity) {
        (true, _) => (2, "white_check_mark"),
        (_, Severity::Info) => (2, "information_source"),
        (_, Severity::Warning) => (3, "warning"),
        (_, Severity::Critical) => (5, "rotating_light"),
    };
    // ntfy writes "triggered" in place of an empty message.
    let message = if notice.text.is_empty() { &notice.title } else { &notice.text };
    object!({ "topic": topic, "title": notice.title, "message": message, "priority": priority, "tags": [tag] })
}

/// One for each subject: the notice that resolves it may come alone, or with others. An extra night fires none, because no later night
/// would end it.
fn alerts(notice: &Notice) -> Option<Value> {
    let is_extra = notice.night.is_some_and(Night::is_extra);
    if notice.topic == Topic::NightOpened || notice.topic == Topic::NightSettled && is_extra {
        return None;
    }
    let alerts: Vec<Value> = match &notice.subjects[..] {
        [] => vec![alert(notice, notice.subject.as_ref())],
        subjects => subjects.iter().map(|subject| alert(notice, Some(subject))).collect(),
    };
    Some(object!(alerts))
}

/// The labels say which alert it is, so those of the notice that resolves it are the same.
fn alert(notice: &Notice, subject: Option<&String>) -> Value {
    let name: String = notice.topic.as_str().split('-').map(capitalised).collect();
    let mut labels = object!({
        "alertname": format!("Nightshift{name}"),
        "cluster": notice.cluster,
        "host": notice.host,
    });
    if let Some(subject) = subject {
        labels["subject"] = object!(subject);
    }
    let ends = if notice.resolved { notice.at } else { notice.at + ALERT_LASTS };
    // Alertmanager refuses an alert that ends when it starts.
    let starts = if notice.resolved { notice.at - SignedDuration::from_secs(1) } else { notice.at };
    object!({
        "labels": labels,
        "annotations": {
            "summary": notice.title,
            "description": notice.text,
            "severity": notice.severity,
            "id": notice.id,
        },
        "startsAt": starts,
        "endsAt": ends,
    })
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
