//! What stays open, over TLS, as it is on a network.

use std::path::PathBuf;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::serve::encrypted;
use crate::support::sse::{Stream, text};
use crate::support::websocket::streams;
use crate::support::{Site, Story};

/// A gateway whose second listener speaks TLS, and its certificate.
async fn begin() -> (Story, PathBuf) {
    let site = Site::new();
    let dir = site.dir.join("tls");
    site.run(&["dev-certificate", dir.to_str().unwrap()], "").succeeded();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let listen = format!(
        "[{{address=\"127.0.0.1:0\"}}, {{address=\"127.0.0.1:0\", tls={{cert_file={cert:?}, key_file={key:?}}}}}]"
    );
    (Story::at(site.listen(2, &listen)).await, cert)
}

#[tokio::test]
async fn terminals_and_tunnels_are_encrypted() {
    let (story, cert) = &begin().await;
    let (client, address) = (&story.client, story.gateway.addresses[1]);
    let open = async |path: &str, more: &[(&str, &str)]| {
        let stream = encrypted(address, cert, b"http/1.1").await;
        client.upgrade_on(stream, path, more).await
    };
    client.create_with("c", json!({"command": "nc -ll -p 7 -e cat", "stdin": true})).await;
    let mut terminal = open("/containers/c/terminal", &[]).await.ok().unwrap();
    terminal.next().await;
    terminal.send("\0stty size; echo he\"\"re\r").await;
    let said = terminal.hears(1, "here").await;
    assert!(said.contains("24 80"), "{said}");
    // More than a record of TLS, both ways.
    let mut tunnel = open("/containers/c/ports/7", &[]).await.ok().unwrap();
    let piece: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
    tunnel.send(piece.clone()).await;
    let mut heard = Vec::new();
    while heard.len() < piece.len() {
        match tunnel.next().await {
            Some(Message::Binary(bytes)) => heard.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, piece);
    let attached = open("/containers/c/attach", &[]).await.ok().unwrap();
    streams(client, 3).await;
    // A page of the same host is let in, one of another is not.
    let own = format!("https://{}", client.address);
    open("/containers/c/terminal", &[("origin", &own)]).await.ok().unwrap().leave().await;
    let foreign = open("/containers/c/terminal", &[("origin", "https://evil.example")]).await;
    foreign.err().unwrap().refused(403, "PermissionError");
    terminal.leave().await;
    tunnel.leave().await;
    attached.leave().await;
    streams(client, 0).await;
}

#[tokio::test]
async fn events_are_encrypted() {
    let (story, cert) = &begin().await;
    let (client, address) = (&story.client, story.gateway.addresses[1]);
    client.create_with("c", json!({"command": "echo one; sleep 300"})).await;
    let open = async |method: &str, path: &str, body: &str| {
        let request = client.request(method, path).header("content-type", "application/json");
        let request = if body.is_empty() { client.request(method, path) } else { request };
        Stream::on(encrypted(address, cert, b"http/1.1").await, request, body).await.ok().unwrap()
    };
    let mut log = open("GET", "/containers/c/logs?follow=true", "").await;
    assert_eq!(text(&log.until("log").await), "one\n");
    let mut stats = open("GET", "/containers/c/stats?stream=true", "").await;
    assert_eq!(stats.told().await.name, "stats");
    let body = json!({"command": "head -c 300000 /dev/zero | tr '\\0' x; exit 4"}).to_string();
    let mut watched = open("POST", "/containers/c/exec/stream", &body).await;
    let mut events = watched.until("exit").await;
    assert_eq!(events.pop().unwrap().data["exit_code"], 4);
    assert_eq!(events.iter().map(|event| event.data["data"].as_str().unwrap().len()).sum::<usize>(), 300_000);
    drop(log);
    drop(stats);
    streams(client, 0).await;
}
