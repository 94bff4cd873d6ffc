//! A mail, through an SMTP server or a program such as sendmail.

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use nightshift_core::notify::{Exceptions, MailPath, Notice, Severity};

use crate::smtp::{Server, TIMEOUT};
use crate::url::Url;
use crate::{SendError, program};

pub async fn send(
    from: &str,
    to: &[String],
    path: &MailPath,
    notice: &Notice,
    only: &[String],
) -> Result<Exceptions, SendError> {
    let message = compose(from, to, notice)?;
    match path {
        MailPath::Sendmail(argv) => {
            program::run(argv, notice, &message.formatted()).await.map(|()| Exceptions::default())
        }
        MailPath::Smtp { url, ca } => {
            let url = Url::read(url)?;
            let server = Server { url: &url, ca: ca.as_deref(), hello: notice.host.to_string() };
            let Some(envelope) = limit(message.envelope(), only) else { return Ok(Exceptions::default()) };
            server.send(&envelope, &message.formatted(), TIMEOUT).await
        }
    }
}

/// The envelope for those that do not have the mail yet. `None` if the config has none of them any more.
fn limit(envelope: &Envelope, only: &[String]) -> Option<Envelope> {
    let mut to = envelope.to().to_vec();
    to.retain(|to| only.is_empty() || only.contains(&to.to_string()));
    Envelope::new(envelope.from().cloned(), to).ok()
}

fn compose(from: &str, to: &[String], notice: &Notice) -> Result<Message, SendError> {
    let mailbox = |text: &str| {
        let address = text.parse().map_err(SendError::Address)?;
        Ok::<_, SendError>(Mailbox::new(None, address))
    };
    let from = Mailbox::new(Some("nightshift".to_owned()), mailbox(from)?.email);
    // The same in each attempt, by which mail programs recognise a repetition.
    let id = format!("<{}@{}>", notice.id, notice.host);
    let mut builder = Message::builder().from(from).message_id(Some(id)).subject(&notice.title);
    for address in to {
        builder = builder.to(mailbox(address)?);
    }
    let urgent = notice.severity == Severity::Critical;
    let hint = "`nightshift status` on that host shows the details.";
    let text = [notice.text.as_str(), hint].join("\n\n").trim_start().to_owned();
    let body = format!("{}{text}\n", if urgent { "An operator should act now.\n\n" } else { "" });
    builder
        .date(std::time::SystemTime::from(notice.at))
        .header(ContentType::TEXT_PLAIN)
        .body(body)
        .map_err(SendError::Compose)
}
