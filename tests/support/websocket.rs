//! WebSockets as a client speaks them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::client::{Answer, Client, whole};
use super::{PATIENCE, eventually};

/// An open one, and what it said that nobody took yet.
pub struct Peer(pub WebSocketStream<TokioIo<Upgraded>>);

impl Client {
    /// Opens a WebSocket, or what came instead; with more headers.
    pub async fn upgrade(&self, path: &str, more: &[(&str, &str)]) -> Result<Peer, Answer> {
        let stream = TcpStream::connect(self.address).await.expect("the gateway takes connections");
        self.upgrade_on(stream, path, more).await
    }

    /// The same on a connection of any kind.
    pub async fn upgrade_on(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        path: &str,
        more: &[(&str, &str)],
    ) -> Result<Peer, Answer> {
        let mut request = self.request("GET", path);
        let all = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in all.iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name)).chain(more) {
            if !value.is_empty() {
                request = request.header(*name, *value);
            }
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request.body(whole("")).unwrap()).await.expect("an answer");
        if response.status() != 101 {
            return Err(Answer::read(response).await);
        }
        // Of RFC 6455, 1.3.
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(response.headers().contains_key("x-request-id"));
        let upgraded = TokioIo::new(hyper::upgrade::on(response).await.expect("a switch"));
        Ok(Peer(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await))
    }

    /// Opens one that must open.
    pub async fn websocket(&self, path: &str) -> Peer {
        match self.upgrade(path, &[]).await {
            Ok(peer) => peer,
            Err(answer) => panic!("{path}: {}", answer.text()),
        }
    }

    /// The answer to a handshake, of which nothing comes.
    pub async fn handshake(&self, path: &str) -> Answer {
        match self.upgrade(path, &[]).await {
            Ok(_) => Answer { status: 101, headers: hyper::HeaderMap::new(), body: Bytes::new() },
            Err(answer) => answer,
        }
    }

    /// A ticket for a path.
    pub async fn ticket(&self, path: &str) -> String {
        let made = self.post("/auth/tickets", json!({"path": path})).await.ok()["ticket"].clone();
        assert_eq!((made["path"].as_str(), made["expires_in"].as_i64()), (Some(path), Some(30)));
        made["ticket"].as_str().unwrap().to_owned()
    }
}

impl Peer {
    pub async fn send(&mut self, message: impl Into<Bytes>) {
        self.0.send(Message::Binary(message.into())).await.expect("it is open");
    }

    /// What comes next that is no ping.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("it says something")?.ok()? {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Some(message),
            }
        }
    }

    /// What binary messages say of one channel, which their first byte names, until these words were said.
    pub async fn hears(&mut self, channel: u8, words: &str) -> String {
        let mut said = String::new();
        while !said.contains(words) {
            match self.next().await {
                Some(Message::Binary(bytes)) if bytes[0] == channel => said += &String::from_utf8_lossy(&bytes[1..]),
                Some(Message::Binary(_)) => {}
                other => panic!("{other:?} after {said:?}, waiting for {words:?}"),
            }
        }
        said
    }

    /// The code and the reason it is closed with, whatever it says before.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Message::Binary(_) | Message::Text(_)) => {}
                other => panic!("{other:?}, not a close frame"),
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub async fn leave(mut self) {
        self.0.close(None).await.expect("it is open");
        while let Ok(Some(Ok(_))) = timeout(Duration::from_secs(5), self.0.next()).await {}
    }
}

/// Waits until the tenant has this many streams open.
pub async fn streams(client: &Client, wanted: i64) {
    eventually("the streams", || async { (client.used().await["streams"] == wanted).then_some(()) }).await;
}
