//! One POST request. Any answer but success is a failure.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::SendError;
use crate::connect::{self, Stream};
use crate::url::Url;

/// The time for the whole request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of the text of an answer is read, in bytes, and how long it may take.
const MAX_ANSWER: usize = 512;
const ANSWER_GRACE: Duration = Duration::from_secs(5);

pub struct Post<'a> {
    pub url: &'a Url,
    pub ca: Option<&'a Path>,
    /// The notice's.
    pub id: &'a str,
    pub content: &'static str,
    pub body: Vec<u8>,
    /// Whether the text of the answer matters.
    pub reads_answer: bool,
}

impl Post<'_> {
    /// Returns the beginning of the answer's text.
    pub async fn send(self) -> Result<String, SendError> {
        let exchange = self.exchange();
        timeout(TIMEOUT, exchange).await.map_err(|_| SendError::TimedOut(TIMEOUT.as_secs()))?
    }

    async fn exchange(self) -> Result<String, SendError> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(SendError::Http)?;
        let mut request = Request::post(self.url.path())
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, concat!("nightshift/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, self.content)
            .header(header::CONNECTION, "close")
            // A receiver that has seen it knows the notice already.
            .header("Idempotency-Key", self.id);
        if let Some((user, password)) = &self.url.login {
            let login = STANDARD.encode(format!("{user}:{password}"));
            request = request.header(header::AUTHORIZATION, format!("Basic {login}"));
        }
        let body = Full::new(Bytes::from(self.body));
        let request = request.body(body).map_err(|_| SendError::BadUrl("its path cannot be requested"))?;
        let answer = pin!(async {
            poll_fn(|context| sender.poll_ready(context)).await?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            let is_read = self.reads_answer && status.is_success();
            let text = if is_read { beginning(response.into_body()).await } else { String::new() };
            Ok::<_, hyper::Error>((status, text))
        });
        // The connection makes progress only while it is polled.
        let answer = match select(pin!(connection), answer).await {
            Either::Left((_, answer)) => answer.await,
            Either::Right((answer, _)) => answer,
        };
        let (status, text) = answer.map_err(SendError::Http)?;
        if status.is_success() {
            Ok(text)
        } else if status.is_redirection() {
            // The place that it names is another receiver, which must not learn what the URL's secret part opens.
            Err(SendError::Redirected(status.as_u16()))
        } else {
            Err(SendError::Refused(status))
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, SendError> {
        let default = match self.url.scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return Err(SendError::BadUrl("it begins neither with https:// nor with http://")),
        };
        let tcp = connect::tcp(self.url, default).await?;
        if self.url.scheme == "http" { Ok(Box::new(tcp)) } else { connect::tls(tcp, self.url, self.ca).await }
    }
}

/// As much of a text as comes soon. The request has succeeded already.
async fn beginning(mut body: Incoming) -> String {
    let mut read = Vec::new();
    let reading = async {
        while read.len() < MAX_ANSWER
            && let Some(Ok(frame)) = body.frame().await
        {
            read.extend(frame.into_data().unwrap_or_default());
        }
    };
    let _rest = timeout(ANSWER_GRACE, reading).await;
    read.truncate(MAX_ANSWER);
    String::from_utf8_lossy(&read).into_owned()
}
