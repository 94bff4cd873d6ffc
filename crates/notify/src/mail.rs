//! A mail, through an SMTP server or a program such as sendmail.

use std::path::Path;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport as _};
use nightshift_core::notify::{MailPath, Notice, Severity};

use crate::url::Url;
use crate::{SendError, roots, run};

/// The time for each step of the conversation. The unit has a limit for the whole.
const TIMEOUT: Duration = Duration::from_secs(20);

pub async fn send(from: &str, to: &[String], path: &MailPath, notice: &Notice) -> Result<(), SendError> {
    let message = compose(from, to, notice)?;
    match path {
        MailPath::Sendmail(argv) => run(argv, notice, &message.formatted()).await,
        MailPath::Smtp { url, ca } => transport(&Url::read(url)?, ca.as_deref(), notice)?
            .send(&message)
            .map(drop)
            .map_err(SendError::Smtp),
    }
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

fn transport(url: &Url, ca: Option<&Path>, notice: &Notice) -> Result<SmtpTransport, SendError> {
    let tls = match (url.scheme.as_str(), is_loopback(&url.host)) {
        ("smtps", _) => Tls::Wrapper(parameters(url, ca)?),
        // Nothing leaves this host.
        ("smtp", true) => Tls::None,
        ("smtp", false) => Tls::Required(parameters(url, ca)?),
        _ => return Err(SendError::BadUrl("it begins neither with smtp:// nor with smtps://")),
    };
    let default = if url.scheme == "smtps" { 465 } else { 25 };
    let builder = SmtpTransport::builder_dangerous(&url.host)
        .port(url.port.unwrap_or(default))
        .hello_name(ClientId::Domain(notice.host.to_string()))
        .timeout(Some(TIMEOUT))
        .tls(tls);
    let login = url.login.clone().map(|(user, password)| Credentials::new(user, password));
    Ok(match login {
        Some(login) => builder.credentials(login).build(),
        None => builder.build(),
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn parameters(url: &Url, ca: Option<&Path>) -> Result<TlsParameters, SendError> {
    let mut builder = TlsParameters::builder(url.host.clone()).certificate_store(CertificateStore::None);
    for certificate in roots::certificates(ca)? {
        // A system's list has certificates that rustls does not accept.
        if let Ok(certificate) = Certificate::from_der(certificate.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(SendError::Smtp)
}
