//! A small HTTP/1.1 client on Podman's socket, for the calls where podman-api is not right (see `engine`'s table).
//!
//! A new connection a call: Podman closes idle ones at will, and a connect on a unix socket costs less than a retry.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::failure::{self, Said};
use crate::domain::{Error, Result};
use crate::metrics::Metrics;

/// Largest answer taken, in bytes; an inspect is a few KiB.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// The socket.
#[derive(Clone)]
pub(super) struct Wire {
    socket: PathBuf,
    metrics: Metrics,
}

/// What Podman answered, whatever the status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Wire {
    pub(super) fn new(socket: PathBuf, metrics: Metrics) -> Self {
        Self { socket, metrics }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, "", Bytes::new()).await
    }

    pub(super) async fn head(&self, path: &str) -> Result<Answer> {
        self.send(Method::HEAD, path, "", Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str) -> Result<Answer> {
        self.send(Method::POST, path, "", Bytes::new()).await
    }

    pub(super) async fn post_json(&self, path: &str, body: &impl Serialize) -> Result<Answer> {
        let body = serde_json::to_vec(body).map_err(Error::internal)?;
        self.send(Method::POST, path, "application/json", body.into()).await
    }

    pub(super) async fn post_tar(&self, path: &str, tar: Bytes) -> Result<Answer> {
        self.send(Method::POST, path, "application/x-tar", tar).await
    }

    pub(super) async fn put_tar(&self, path: &str, tar: Bytes) -> Result<Answer> {
        self.send(Method::PUT, path, "application/x-tar", tar).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, "", Bytes::new()).await
    }

    /// An answer without an end, as it comes. Dropping it cuts the connection.
    pub(super) async fn stream(&self, path: &str) -> Result<impl Stream<Item = Result<Bytes, hyper::Error>> + use<>> {
        let open = self.exchange(Method::GET, path, ("", Bytes::new()), false);
        let (response, driver) = self.metrics.podman_call(&template(&Method::GET, path), open).await?;
        if !response.status().is_success() {
            return Err(Answer::read(response).await?.refusal());
        }
        Ok(response.into_body().into_data_stream().map(move |chunk| {
            let _open = &driver;
            chunk
        }))
    }

    /// A connection that stops being HTTP, as Podman hands over a process's streams. Dropping it cuts it. Podman reads
    /// the body, of JSON, before.
    pub(super) async fn hijack(&self, path: &str, body: Bytes) -> Result<Upgraded> {
        let content_type = if body.is_empty() { "" } else { "application/json" };
        let open = self.exchange(Method::POST, path, (content_type, body), true);
        let (response, _driver) = self.metrics.podman_call(&template(&Method::POST, path), open).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Answer::read(response).await?.refusal());
        }
        hyper::upgrade::on(response).await.map_err(failure::unreachable)
    }

    async fn send(&self, method: Method, path: &str, content_type: &'static str, body: Bytes) -> Result<Answer> {
        let call = template(&method, path);
        let exchange = async {
            let (response, _driver) = self.exchange(method, path, (content_type, body), false).await?;
            Answer::read(response).await
        };
        self.metrics.podman_call(&call, exchange).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        (content_type, body): (&'static str, Bytes),
        upgrade: bool,
    ) -> Result<(Response<Incoming>, AbortOnDrop<hyper::Result<()>>)> {
        let stream = UnixStream::connect(&self.socket).await.map_err(failure::unreachable)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(failure::unreachable)?;
        // Driven by a task of its own, ended with this call: a caller who leaves cuts the connection.
        let driver = AbortOnDrop(tokio::spawn(connection.with_upgrades()));
        let mut request = Request::builder().method(method).uri(path).header(HOST, "podman");
        if upgrade {
            request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
        }
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(body)).map_err(Error::internal)?;
        let response = sender.send_request(request).await.map_err(failure::unreachable)?;
        Ok((response, driver))
    }
}

/// What a call is counted as: `POST containers/{id}/stop`. No id and no query, so that there are few.
fn template(method: &Method, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
    // Libpod's side of the API or the Docker-compatible one.
    let parts =
        path.split('/').skip_while(|part| part.starts_with("v4.") || part.starts_with("v1.") || *part == "libpod");
    let parts: Vec<&str> = parts.collect();
    let path = match parts[..] {
        [] => String::new(),
        [one] => one.to_owned(),
        [kind, verb] if verb.len() < 10 && verb.bytes().all(|b| b.is_ascii_lowercase()) => format!("{kind}/{verb}"),
        [kind, _] => format!("{kind}/{{id}}"),
        [kind, .., verb] => format!("{kind}/{{id}}/{verb}"),
    };
    format!("{method} {path}")
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Self> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(failure::unreachable)?;
        Ok(Self { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// Itself if Podman agreed, else what its refusal means.
    pub(super) fn checked(self) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal()) }
    }

    /// What a refusal means.
    pub(super) fn refusal(&self) -> Error {
        let said: Said = serde_json::from_slice(&self.body).unwrap_or_default();
        failure::refusal(self.status.as_u16(), &format!("{}: {}", said.message, said.cause))
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its text, without the end of its line.
    pub(super) fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).map(str::trim_end).map_err(failure::unreadable)
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(failure::unreadable)
    }
}

/// A task that ends with whoever has this.
pub(super) struct AbortOnDrop<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_without_ids() {
        let id = "a".repeat(64);
        let cases = [
            (format!("/v4.0.0/libpod/containers/{id}/json?size=true"), "GET containers/{id}/json"),
            (format!("/v1.40/containers/{id}/archive?path=%2F"), "GET containers/{id}/archive"),
            ("/v4.0.0/libpod/containers/create".into(), "GET containers/create"),
            ("/v4.0.0/libpod/images/docker.io%2Flibrary%2Falpine%3Alatest/json".into(), "GET images/{id}/json"),
            ("/v4.0.0/libpod/volumes/json?filters=x".into(), "GET volumes/json"),
            (format!("/v4.0.0/libpod/exec/{id}"), "GET exec/{id}"),
            ("/v4.0.0/libpod/info".into(), "GET info"),
            ("/v4.0.0/libpod/system/df".into(), "GET system/df"),
        ];
        for (path, call) in cases {
            assert_eq!(template(&Method::GET, &path), call);
        }
    }
}
