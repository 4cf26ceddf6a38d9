//! Ports inside a container, without a published one.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::gateway::program;
use crate::support::websocket::{Peer, streams};
use crate::support::{ALPINE, Client, Site, Story, eventually};

/// A page on the container's loopback.
async fn serves(client: &Client, name: &str, more: serde_json::Value) {
    let command = "echo hello from inside > /tmp/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp";
    let mut body = json!({"image": "alpine", "name": name, "command": command});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.create(body).await;
    let answers = "until nc -w 1 127.0.0.1 8080 < /dev/null; do sleep 0.1; done";
    client.exec(name, json!(answers)).await;
}

/// All that it says.
async fn whole(mut peer: Peer) -> (Vec<u8>, u16) {
    let mut said = Vec::new();
    loop {
        match peer.next().await {
            Some(Message::Binary(bytes)) => said.extend_from_slice(&bytes),
            Some(Message::Close(Some(frame))) => return (said, frame.code.into()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_port_is_reached_without_a_network() {
    let alone = "[profiles.alone]\nnetwork = \"none\"\n";
    let story = Story::with(Site::new().with(alone), &[&format!("--image={ALPINE}"), "--profile=alone"]).await;
    let client = &story.client;
    serves(client, "web", json!({"profile": "alone"})).await;
    let mut peer = client.websocket("/containers/web/ports/8080").await;
    streams(client, 1).await;
    peer.send("GET /index.html HTTP/1.0\r\n\r\n").await;
    let (said, code) = whole(peer).await;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("200 OK") && said.ends_with("hello from inside\n"), "{said}");
    assert_eq!(code, 1000);
    streams(client, 0).await;
    // A browser's, by a ticket.
    let path = "/containers/web/ports/8080";
    let ticket = client.ticket(path).await;
    let peer = client.anonymous().websocket(&format!("{path}?ticket={ticket}")).await;
    peer.leave().await;
    streams(client, 0).await;
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let story = Story::begin().await;
    let client = &story.client;
    client.create_sleeping("web").await;
    let nobody = client.handshake("/containers/web/ports/8080").await;
    let said = nobody.refused(409, "PodmanAPIError");
    assert!(said.to_string().contains("listens"), "{said}");
    for port in ["0", "65536", "-1", "http"] {
        assert_eq!(client.handshake(&format!("/containers/web/ports/{port}")).await.status, 400, "{port}");
    }
    client.handshake("/containers/nothing/ports/80").await.refused(404, "PodmanAPIError");
    let (_, theirs) = story.another();
    theirs.handshake("/containers/web/ports/80").await.refused(404, "PodmanAPIError");
    story.site.account(&story.tenant.login("viewer"), "viewer");
    let viewer = client.with_token(story.site.token(&story.tenant.login("viewer")));
    viewer.handshake("/containers/web/ports/80").await.refused(403, "PermissionError");
    client.post("/containers/web/stop?timeout=0", json!(null)).await.ok();
    client.handshake("/containers/web/ports/80").await.refused(409, "PodmanAPIError");
    streams(client, 0).await;
}

/// Both directions at once, and the end of one before the other's.
#[tokio::test]
async fn what_goes_in_comes_out() {
    let Story { client, .. } = &Story::begin().await;
    let command = "nc -ll -p 7 -e cat";
    client.create(json!({"image": "alpine", "name": "echo", "command": command})).await;
    let mut peer =
        eventually("that it listens", || async { client.upgrade("/containers/echo/ports/7", &[]).await.ok() }).await;
    let piece: Vec<u8> = (0..60_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut sent, mut heard) = (0, Vec::new());
    while heard.len() < 60_000 * 50 {
        if sent < 50 {
            peer.send(piece.clone()).await;
            sent += 1;
        }
        match peer.next().await {
            Some(Message::Binary(bytes)) => heard.extend_from_slice(&bytes),
            other => panic!("{other:?} after {} bytes", heard.len()),
        }
    }
    assert!(heard.chunks(60_000).all(|chunk| chunk == piece));
    peer.send("").await;
    let (rest, code) = whole(peer).await;
    assert_eq!((rest.len(), code), (0, 1000));
    streams(client, 0).await;
}

/// As a student would, whose browser knows nothing of tunnels.
#[tokio::test]
async fn a_port_of_this_machine_leads_there() {
    let story = Story::begin().await;
    serves(&story.client, "web", json!({})).await;
    let token = story.client.token.clone().unwrap();
    let url = format!("http://{}", story.client.address);
    let forward = |token: &str, container: &str, url: &str| {
        let mut command = program();
        command
            .args(["forward", "--url", url, container, "0:8080", "0:9"])
            .env("PODGATE_TOKEN", token)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let mut running = forward(&token, "web", &url).spawn().unwrap();
    let mut said = BufReader::new(running.stdout.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    let (address, rest) = line.split_once(' ').unwrap();
    assert_eq!(rest, "leads to port 8080 of web");
    let address = address.to_owned();
    let page = |address: String| {
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).unwrap();
            page
        })
    };
    let pages: Vec<_> = (0..3).map(|_| page(address.clone())).collect();
    for page in pages {
        let page = page.await.unwrap();
        assert!(page.ends_with("hello from inside\n"), "{page}");
    }
    // Nothing listens on the other: the connection ends, and the reason is told.
    let other = said.next().unwrap().unwrap();
    let nothing = page(other.split_once(' ').unwrap().0.to_owned()).await;
    assert!(nothing.is_err() || nothing.unwrap().is_empty());
    streams(&story.client, 0).await;
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let done = running.wait_with_output().unwrap();
    assert!(done.status.success());
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(complained.contains("nothing in the container listens on that port"), "{complained}");
    // A key that may open tunnels and look at nothing will do.
    let made = story.client.post("/api-keys", json!({"name": "tunnels", "scopes": ["exec"]})).await.ok();
    let key = made["api_key"]["key"].as_str().unwrap();
    // People have the API's own address at hand.
    let mut running = forward(key, "web", &format!("{url}/api/v1/")).spawn().unwrap();
    let line = BufReader::new(running.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let page = page(line.split_once(' ').unwrap().0.to_owned()).await.unwrap();
    assert!(page.ends_with("hello from inside\n"), "{page}");
    running.kill().unwrap();
    running.wait().unwrap();
    for (token, container, why) in [("x", "web", "401"), (token.as_str(), "nothing", "404")] {
        let done = forward(token, container, &url).output().unwrap();
        let complained = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && complained.contains(why), "{complained}");
    }
}

/// What nobody inside reads waits for ever; the connection does not, once its client is gone.
#[tokio::test]
async fn who_leaves_behind_input_that_nobody_reads_is_noticed() {
    let Story { client, .. } = &Story::begin().await;
    let command = "nc -ll -p 7 -e sleep 300";
    client.create(json!({"image": "alpine", "name": "deaf", "command": command})).await;
    let mut peer =
        eventually("that it listens", || async { client.upgrade("/containers/deaf/ports/7", &[]).await.ok() }).await;
    streams(client, 1).await;
    let piece = vec![b'x'; 60_000];
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(3), peer.send(piece.clone())).await.is_ok() {
        sent += piece.len();
    }
    println!("{sent} bytes were taken");
    let begun = std::time::Instant::now();
    drop(peer);
    streams(client, 0).await;
    println!("noticed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
