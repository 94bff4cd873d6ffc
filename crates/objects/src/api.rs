//! Requests to an API server over the socket of a proxy, which adds the operator's credentials: plain HTTP/1.1.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use nightshift_core::text::{InvalidJson, Text};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Of one request. The API server itself ends requests after 60 s (`--request-timeout`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(70);
/// In bytes: etcd stores objects of up to 1.5 MiB by default, and JSON is longer than protobuf.
const MAX_RESPONSE: usize = 16 << 20;
/// Servers show it as the manager of the fields.
const USER_AGENT: &str = "nightshift";

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("cannot connect to the proxy at {}", .socket.display())]
    Unreachable { socket: PathBuf, source: io::Error },
    #[error("the API server did not respond to {request} within {} s", REQUEST_TIMEOUT.as_secs())]
    TimedOut { request: String },
    #[error("the API server did not respond to {request}")]
    Http { request: String, source: hyper::Error },
    #[error("{request} is not a valid request")]
    Request { request: String, source: http::Error },
    #[error("the API server responded to {request} with more than {MAX_RESPONSE} bytes")]
    TooLarge { request: String },
    #[error("the API server responded to {request} with invalid JSON")]
    Shape { request: String, source: InvalidJson },
    #[error("the API server responded to {request} with {status}: {message}")]
    Refused { request: String, status: StatusCode, message: Text },
}

/// An API server behind a socket. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

/// The body of a request.
pub struct Body {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

pub struct Response {
    pub request: String,
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl Api {
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub async fn get(&self, path: &str) -> Result<Response, ApiError> {
        self.request(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Body) -> Result<Response, ApiError> {
        self.request(Method::POST, path, Some(body)).await
    }

    async fn request(&self, method: Method, path: &str, body: Option<Body>) -> Result<Response, ApiError> {
        let named = format!("{method} {path}");
        let exchange = self.exchange(method, path, body, &named);
        match timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(exchanged) => {
                let (status, body) = exchanged?;
                Ok(Response { request: named, status, body })
            }
            Err(_) => Err(ApiError::TimedOut { request: named }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Body>,
        named: &str,
    ) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let http = |source| ApiError::Http { request: named.to_owned(), source };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ApiError::Unreachable { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        // The proxy accepts requests for this host alone.
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json");
        if let Some(Body { content_type, .. }) = &body {
            request = request.header(header::CONTENT_TYPE, *content_type);
        }
        let bytes = body.map_or_else(Bytes::new, |body| body.bytes.into());
        let request = request
            .body(Full::new(bytes))
            .map_err(|source| ApiError::Request { request: named.to_owned(), source })?;
        let response = async {
            let response = sender.send_request(request).await.map_err(http)?;
            let status = response.status();
            Ok((status, whole(response.into_body(), named).await?))
        };
        // The connection makes progress only while it is polled; it may end before the response is read.
        match select(Box::pin(connection), Box::pin(response)).await {
            Either::Left((_, response)) => response.await,
            Either::Right((response, _)) => response,
        }
    }
}

async fn whole(mut body: Incoming, named: &str) -> Result<Vec<u8>, ApiError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| ApiError::Http { request: named.to_owned(), source })?;
        whole.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
        if whole.len() > MAX_RESPONSE {
            return Err(ApiError::TooLarge { request: named.to_owned() });
        }
    }
    Ok(whole)
}

impl Response {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body)
            .map_err(|source| ApiError::Shape { request: self.request.clone(), source: source.into() })
    }

    /// The response to a request that must succeed.
    pub fn require<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.status.is_success() {
            return self.json();
        }
        Err(ApiError::Refused { request: self.request.clone(), status: self.status, message: self.message() })
    }

    /// The response to a request for something that may be absent.
    pub fn if_found<T: DeserializeOwned>(&self) -> Result<Option<T>, ApiError> {
        if self.status == StatusCode::NOT_FOUND { Ok(None) } else { self.require().map(Some) }
    }

    /// Why a request was refused: the message of a `Status`, else the text of the response.
    pub fn message(&self) -> Text {
        let status: Option<Value> = serde_json::from_slice(&self.body).ok();
        let message = status.as_ref().and_then(|status| status.get("message")?.as_str());
        match message {
            Some(message) => Text::new(message),
            None => Text::new(String::from_utf8_lossy(&self.body).trim()),
        }
    }

    /// The machine-readable reason of a `Status`, such as `AlreadyExists`.
    pub fn is_because(&self, reason: &str) -> bool {
        let status: Option<Value> = serde_json::from_slice(&self.body).ok();
        status.is_some_and(|status| status.get("reason").and_then(Value::as_str) == Some(reason))
    }
}
