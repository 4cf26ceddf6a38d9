//! Server-sent events as a client reads them.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::http::request::Builder;
use hyper::{Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::client::{Answer, Client, whole};

/// A stream of events; dropping it cuts the connection.
pub struct Stream {
    body: Incoming,
    read: Vec<u8>,
    ready: VecDeque<Event>,
    connection: tokio::task::JoinHandle<()>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Client {
    /// Opens a stream that must open.
    pub async fn events(&self, path: &str) -> Stream {
        self.events_behind(path, None).await
    }

    /// The same, behind an event.
    pub async fn events_behind(&self, path: &str, id: Option<&str>) -> Stream {
        self.try_events(path, id, Version::HTTP_11).await.unwrap_or_else(|answer| panic!("{path}: {}", answer.text()))
    }

    /// The answer of a stream, of which nothing comes.
    pub async fn knock(&self, path: &str) -> Answer {
        match self.try_events(path, None, Version::HTTP_11).await {
            Ok(_) => Answer { status: 200, headers: hyper::HeaderMap::new(), body: Bytes::new() },
            Err(answer) => answer,
        }
    }

    /// Opens one by a POST, or what came instead.
    pub async fn post_events(&self, path: &str, body: Value) -> Result<Stream, Answer> {
        let request = self.request("POST", path).header("content-type", "application/json");
        let stream = TcpStream::connect(self.address).await.expect("the gateway takes connections");
        Stream::on(stream, request, &body.to_string()).await
    }

    pub async fn try_events(&self, path: &str, id: Option<&str>, version: Version) -> Result<Stream, Answer> {
        let mut request = self.request("GET", path);
        if let Some(id) = id {
            request = request.header("last-event-id", id);
        }
        let mut request = request.body(whole("")).unwrap();
        let io = TokioIo::new(TcpStream::connect(self.address).await.expect("the gateway takes connections"));
        let (response, connection): (Response<Incoming>, _) = if version == Version::HTTP_2 {
            *request.version_mut() = version;
            request.headers_mut().remove("host");
            let uri = format!("http://{}{}", self.address, request.uri());
            *request.uri_mut() = uri.parse().unwrap();
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("a connection");
            let connection = tokio::spawn(async { drop(connection.await) });
            (sender.send_request(request).await.expect("an answer"), connection)
        } else {
            let (mut sender, connection) = http1::handshake(io).await.expect("a connection");
            let connection = tokio::spawn(async { drop(connection.await) });
            (sender.send_request(request).await.expect("an answer"), connection)
        };
        Stream::of(response, connection).await
    }
}

impl Stream {
    /// Opens one on a connection of any kind, or what came instead.
    pub async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Builder,
        body: &str,
    ) -> Result<Self, Answer> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        let connection = tokio::spawn(async { drop(connection.await) });
        let request = request.body(whole(body.to_owned())).unwrap();
        Self::of(sender.send_request(request).await.expect("an answer"), connection).await
    }

    async fn of(response: Response<Incoming>, connection: tokio::task::JoinHandle<()>) -> Result<Self, Answer> {
        if response.status() != 200 {
            return Err(Answer::read(response).await);
        }
        let content_type = response.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("text/event-stream"), "{content_type}");
        Ok(Self { body: response.into_body(), read: Vec::new(), ready: VecDeque::new(), connection })
    }

    /// The next event; none once the stream is over. A comment is an event without a name.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("it says something");
            self.take(frame?.ok()?.into_data().unwrap());
        }
    }

    /// The next event that is no sign of life.
    pub async fn told(&mut self) -> Event {
        loop {
            match self.next().await {
                Some(event) if event.name.is_empty() => {}
                other => return other.expect("an event before the end"),
            }
        }
    }

    /// All events up to one of that name, which is the last.
    pub async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            all.push(self.told().await);
            if all.last().unwrap().name == name {
                return all;
            }
        }
    }

    /// Why it ends, and that it does.
    pub async fn reason(&mut self) -> String {
        let end = self.until("end").await.pop().unwrap();
        assert_eq!(self.next().await, None, "nothing comes behind the end");
        end.data["reason"].as_str().unwrap().to_owned()
    }

    fn take(&mut self, bytes: Bytes) {
        self.read.extend_from_slice(&bytes);
        while let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
            let text = String::from_utf8(self.read.drain(..end + 2).collect()).unwrap();
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let data = field("data: ").map_or(Value::Null, |data| serde_json::from_str(&data).unwrap());
            self.ready.push_back(Event { name: field("event: ").unwrap_or_default(), id: field("id: "), data });
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What the events of a log say, put together.
pub fn text(events: &[Event]) -> String {
    events.iter().filter_map(|event| event.data["text"].as_str()).collect()
}
