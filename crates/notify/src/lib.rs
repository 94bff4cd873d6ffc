//! Sends one notice to one target: over HTTP, by mail, or to a program. It runs in a unit of its own, never in the daemon. The unit of
//! hooks runs its programs with `command`, too.
//!
//! URLs are secrets: no error contains one, or a part of one. A redirect is not followed.

pub mod command;
mod connect;
mod error;
mod file;
mod http;
mod mail;
mod program;
mod roots;
mod smtp;
mod url;

use nightshift_core::notify::{
    Exceptions, MailPath, Notice, Secret, Target, TargetKind, WebhookFormat, json, ping, ping_refusal,
    webhook,
};

pub use error::SendError;
use http::Post;
use url::Url;

/// Sends a notice; `Ok` means that the receiver has it. A notice that the format of the target has no place for counts as sent.
/// Of several recipients of a mail, `only` those get it; all if there are none.
pub async fn send(target: &Target, notice: &Notice, only: &[String]) -> Result<Exceptions, SendError> {
    let sent = Ok(Exceptions::default());
    match &target.kind {
        TargetKind::Ping { url, ca } => {
            let ping = ping(notice);
            let mut url = Url::read(url)?;
            url.append(ping.path, ping.rid.as_deref().map(|rid| ("rid", rid)));
            let body = format!("{}\n{}", notice.title, notice.text).trim_end().to_owned().into_bytes();
            let post = Post {
                url: &url,
                ca: ca.as_deref(),
                id: &notice.id,
                content: "text/plain; charset=utf-8",
                body,
                reads_answer: true,
            };
            let answer = post.send().await?;
            ping_refusal(&answer).map_or(sent, |reason| Err(SendError::Ping(reason)))
        }
        TargetKind::Webhook { url, format, ca } => {
            let mut url = Url::read(url)?;
            let topic = if *format == WebhookFormat::Ntfy {
                url.take_last_segment().ok_or(SendError::NoTopic)?
            } else {
                String::new()
            };
            let Some(body) = webhook(*format, notice, &topic) else { return sent };
            let body = body.to_string().into_bytes();
            let post = Post {
                url: &url,
                ca: ca.as_deref(),
                id: &notice.id,
                content: "application/json",
                body,
                reads_answer: false,
            };
            post.send().await.and(sent)
        }
        TargetKind::Mail { from, to, path } => mail::send(from, to, path, notice, only).await,
        TargetKind::Command { argv } => {
            program::run(argv, notice, json(notice).to_string().as_bytes()).await.and(sent)
        }
    }
}

/// Why a target cannot be sent anything, as far as its files show. A credential is only seen by the unit.
pub fn check(target: &Target) -> Result<(), SendError> {
    let (url, schemes, ca) = match &target.kind {
        TargetKind::Ping { url, ca } | TargetKind::Webhook { url, ca, .. } => (url, ["https", "http"], ca),
        TargetKind::Mail { path: MailPath::Smtp { url, ca }, .. } => (url, ["smtps", "smtp"], ca),
        TargetKind::Mail { .. } | TargetKind::Command { .. } => return Ok(()),
    };
    if !matches!(url, Secret::Credential(_)) {
        let url = Url::read(url)?;
        if !schemes.contains(&url.scheme.as_str()) {
            return Err(SendError::BadUrl("its scheme is not one of this kind of target"));
        }
        if let TargetKind::Webhook { format, .. } = &target.kind
            && !format.fits(url.path())
        {
            return Err(SendError::BadUrl("that of an Alertmanager ends in `/api/v2/alerts`"));
        }
    }
    ca.as_deref().map_or(Ok(()), |ca| roots::certificates(Some(ca)).map(drop))
}

#[cfg(test)]
mod tests;
