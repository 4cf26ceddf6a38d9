//! HTTP as a client speaks it: a new connection a request, nothing hidden.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::http::request::Builder;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::eventually;

pub type Body = BoxBody<Bytes, Infallible>;

/// A body of known length.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// One caller of one gateway.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    /// The same gateway with another token.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { address: self.address, token: Some(token.into()) }
    }

    /// The same gateway without a token.
    pub fn anonymous(&self) -> Self {
        Self { address: self.address, token: None }
    }

    /// The beginning of a request. Paths that do not say otherwise are the API's.
    pub fn request(&self, method: &str, path: &str) -> Builder {
        let at_root =
            ["/api/", "/docs", "/livez", "/readyz", "/.well-known/"].iter().any(|root| path.starts_with(root));
        let uri = if at_root { path.to_owned() } else { format!("/api/v1{path}") };
        let builder = Request::builder().method(method).uri(uri).header(HOST, self.address.to_string());
        match &self.token {
            Some(token) => builder.header(AUTHORIZATION, format!("Bearer {token}")),
            None => builder,
        }
    }

    /// Sends it on a connection of its own.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("the gateway takes connections");
        exchange(stream, request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None).await
    }

    /// With a JSON body, or with none where it is null.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body).filter(|body| !body.is_null())).await
    }

    /// With an idempotency key.
    pub async fn post_keyed(&self, path: &str, key: &str, body: Value) -> Answer {
        let request = self.request("POST", path).header(CONTENT_TYPE, "application/json");
        self.send(request.header("idempotency-key", key).body(whole(body.to_string())).unwrap()).await
    }

    /// With any text as `application/json`.
    pub async fn post_text(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request("POST", path).header(CONTENT_TYPE, "application/json");
        self.send(request.body(whole(body)).unwrap()).await
    }

    /// Puts bytes as they are.
    pub async fn put(&self, path: &str, media_type: &str, bytes: impl Into<Bytes>) -> Answer {
        let request = self.request("PUT", path).header(CONTENT_TYPE, media_type);
        self.send(request.body(whole(bytes)).unwrap()).await
    }

    /// As an HTML form would.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request("POST", path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(whole(form)).unwrap()).await
    }

    /// Sends a request and reads nothing: whoever has the connection may read the answer, or leave.
    pub async fn send_only(&self, path: &str, body: &Value) -> TcpStream {
        let (body, token) = (body.to_string(), self.token.as_deref().unwrap_or_default());
        let request = format!(
            "POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.expect("the gateway takes connections");
        stream.write_all(request.as_bytes()).await.expect("the gateway reads");
        stream
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(whole(body.to_string())),
            None => request.body(whole("")),
        };
        self.send(request.unwrap()).await
    }

    /// Creates a container and says its 12-digit id.
    pub async fn create(&self, body: Value) -> String {
        self.post("/containers", body).await.ok()["container"]["id"].as_str().unwrap().to_owned()
    }

    /// A container of alpine that sleeps.
    pub async fn create_sleeping(&self, name: &str) -> String {
        self.create(sleeping(name, json!({}))).await
    }

    /// Asks for a container of alpine that sleeps, with more fields.
    pub async fn try_create(&self, name: &str, more: Value) -> Answer {
        self.post("/containers", sleeping(name, more)).await
    }

    /// Makes one; what the answer says of it.
    pub async fn create_with(&self, name: &str, more: Value) -> Value {
        self.try_create(name, more).await.ok()["container"].clone()
    }

    /// What the tenant has of each resource.
    pub async fn used(&self) -> BTreeMap<String, i64> {
        self.quotas("used").await
    }

    /// What GET /usage says of each resource: its `limit`, or what is `used`.
    pub async fn quotas(&self, field: &str) -> BTreeMap<String, i64> {
        let usage = self.get("/usage").await.ok();
        let all = usage["usage"].as_array().unwrap().iter();
        all.map(|one| (one["resource"].as_str().unwrap().to_owned(), one[field].as_i64().unwrap())).collect()
    }

    /// Runs a command that must succeed; its output.
    pub async fn exec(&self, name: &str, command: Value) -> String {
        let done = self.post(&format!("/containers/{name}/exec"), json!({"command": command})).await.ok();
        assert_eq!(done["execution"]["exit_code"], 0, "{command}: {done}");
        done["execution"]["output"].as_str().unwrap().to_owned()
    }

    /// Podman's word for how a container is.
    pub async fn status(&self, name: &str) -> String {
        self.get(&format!("/containers/{name}")).await.ok()["container"]["status"].as_str().unwrap().to_owned()
    }

    /// A container's log.
    pub async fn logs(&self, name: &str, query: &str) -> String {
        let answer = self.get(&format!("/containers/{name}/logs{query}")).await.ok();
        answer["container"]["logs"].as_str().unwrap().to_owned()
    }

    /// The log of a container that ends by itself, once it has.
    pub async fn said(&self, name: &str) -> String {
        eventually("its end", || async { (self.status(name).await == "exited").then_some(()) }).await;
        self.logs(name, "").await
    }

    /// What the API says of every container: name and status.
    pub async fn listed(&self) -> Vec<(String, String)> {
        let list = self.get("/containers").await.ok();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let containers = list["containers"].as_array().unwrap().iter();
        containers.map(|one| (text(&one["name"]), text(&one["status"]))).collect()
    }

    /// Signs in with JSON.
    pub async fn sign_in(&self, username: &str, password: &str) -> Answer {
        self.anonymous().post("/auth/token", json!({"username": username, "password": password})).await
    }
}

/// One request on a fresh connection of any kind.
pub async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: Request<Body>) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let what = format!("{} {}", request.method(), request.uri());
    let response = sender.send_request(request).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    Answer::read(response).await
}

impl Answer {
    pub async fn read(response: Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The header's only value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(values.len() <= 1, "{name} is there more than once: {values:?}");
        values.first().map(|value| value.to_str().expect("a printable header"))
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()));
        let body = self.json();
        assert_eq!(body["success"], true, "{body}");
        body
    }

    /// Holds a refusal against the envelope of the contract; its `error`.
    #[track_caller]
    pub fn refused(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body = self.json();
        assert_eq!(keys(&body), ["error", "request_id", "success", "timestamp"].into(), "{body}");
        assert_eq!(body["success"], false);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        let timestamp = body["timestamp"].as_str().unwrap();
        assert!(timestamp.len() == 27 && timestamp.ends_with('Z'), "{timestamp} has microseconds and is UTC");
        let error = &body["error"];
        let optional: BTreeSet<&str> = ["details"].into();
        let found: BTreeSet<&str> = keys(error).difference(&optional).copied().collect();
        assert_eq!(found, ["code", "message", "type"].into(), "{body}");
        assert_eq!((error["code"].as_u64(), error["type"].as_str()), (Some(status.into()), Some(kind)), "{body}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        // Podman's words, with paths and ids of its host, stay inside (SECURITY rule 24). Those of a bad request are its own.
        for inner in ["/overlay", "libpod", "conmon", "crun", "podman.sock", "OCI"] {
            assert!(status == 400 || !error.to_string().contains(inner), "{error}");
        }
        error.clone()
    }

    /// The same, and exactly these fields are blamed.
    #[track_caller]
    pub fn blames(&self, fields: &[&str]) {
        let error = self.refused(400, "ValidationError");
        let details = error["details"].as_array().into_iter().flatten();
        let blamed: BTreeSet<&str> = details.map(|detail| detail["field"].as_str().unwrap()).collect();
        assert_eq!(blamed, fields.iter().copied().collect(), "{error}");
    }
}

/// A body for a container of alpine that sleeps, with more fields.
pub fn sleeping(name: &str, more: Value) -> Value {
    let mut body = json!({"image": "alpine", "name": name, "command": "sleep 300"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The names in an object.
pub fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}
