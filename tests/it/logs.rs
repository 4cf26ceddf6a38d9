//! What a container said.

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{Site, Story, eventually};

#[tokio::test]
async fn logs_are_both_streams_in_order_and_text() {
    let Story { client, .. } = &Story::begin().await;
    let command = "for i in 1 2 3; do echo out$i; sleep 0.5; echo err$i >&2; sleep 0.5; done; printf 'a\\377b\\n'";
    client.create(json!({"image": "alpine", "name": "talker", "command": command})).await;
    eventually("its end", || async { (client.status("talker").await == "exited").then_some(()) }).await;
    let logs = async |query: &str| client.logs("talker", query).await;
    let all = "out1\nerr1\nout2\nerr2\nout3\nerr3\na\u{fffd}b\n";
    assert_eq!(logs("").await, all);
    assert_eq!(logs("?tail=10000").await, all);
    assert_eq!(logs("?tail=2").await, "err3\na\u{fffd}b\n");
    assert_eq!(logs("?tail=0").await, "");
    assert_eq!(logs("?since=0").await, all);
    assert_eq!(logs("?since=4102444800").await, "", "nothing was said in the future");
    for line in logs("?timestamps=true").await.lines() {
        assert!(line.starts_with("20") && line.contains('T'), "{line}");
    }
    for bad in ["10001", "20000000000", "-1", "x", "", "1.0", "0x10"] {
        client.get(&format!("/containers/talker/logs?tail={bad}")).await.blames(&["tail"]);
    }
    assert_eq!(logs("?since=253402300799").await, "");
    for bad in ["x", "-1", "253402300800", "9223372036854775807"] {
        client.get(&format!("/containers/talker/logs?since={bad}")).await.blames(&["since"]);
    }
    client.get("/containers/talker/logs?timestamps=maybe").await.blames(&["timestamps"]);
}

/// Podman notes a line in pieces where it was written in pieces.
#[tokio::test]
async fn logs_join_what_was_one_line() {
    let Story { client, .. } = &Story::begin().await;
    let command = "printf one; sleep 0.3; printf ' '; sleep 0.3; echo line; echo next; printf end";
    client.create(json!({"image": "alpine", "name": "talker", "command": command})).await;
    eventually("its end", || async { (client.status("talker").await == "exited").then_some(()) }).await;
    for (tail, expected) in [(100, "one line\nnext\nend"), (3, "one line\nnext\nend"), (2, "next\nend"), (1, "end")] {
        let answer = client.get(&format!("/containers/talker/logs?tail={tail}")).await.ok();
        assert_eq!(answer["container"]["logs"], expected, "tail={tail}");
    }
    // Each line has one time, before it.
    let lines = client.logs("talker", "?timestamps=true").await;
    let words: Vec<_> = lines.lines().map(|line| line.split_once(' ').expect("a time")).collect();
    assert!(words.iter().all(|(time, _)| time.starts_with("20") && time.contains('T')), "{lines}");
    assert_eq!(words.iter().map(|(_, line)| *line).collect::<Vec<_>>(), ["one line", "next", "end"]);
}

#[tokio::test]
async fn long_logs_keep_their_newest_lines() {
    let Story { client, .. } = &Story::at(Site::new().set("output.logs_bytes", 1024)).await;
    client.create(json!({"image": "alpine", "name": "talker", "command": "seq 1 2000"})).await;
    eventually("its end", || async { (client.status("talker").await == "exited").then_some(()) }).await;
    let container = client.get("/containers/talker/logs?tail=10000").await.ok()["container"].clone();
    let logs = container["logs"].as_str().unwrap();
    assert_eq!(container["truncated"], true);
    assert!(logs.len() <= 1024 && logs.ends_with("1999\n2000\n"), "{logs}");
    let first: u32 = logs.lines().next().unwrap().parse().expect("lines are whole");
    assert!(first > 1000);
}

/// Answers that nobody takes are in our memory: a tenant has room for so many.
#[tokio::test]
async fn what_is_not_taken_takes_its_tenants_places() {
    let site = Site::new().set("engine.long_calls_per_tenant", 2).variable("REQUEST_TIMEOUT", "6");
    let story = Story::at(site).await;
    let client = &story.client;
    let (_, theirs) = story.another();
    for client in [client, &theirs] {
        client.create(json!({"image": "alpine", "name": "talker", "command": "seq 1 2000; sleep 300"})).await;
        eventually("its words", || async { client.logs("talker", "").await.ends_with("2000\n").then_some(()) }).await;
    }
    // A client whose streams have no window takes heads and no bodies.
    let stream = TcpStream::connect(client.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut untaken = Vec::new();
    for _ in 0..2 {
        let request = Request::get(format!("http://{}/api/v1/containers/talker/logs", client.address))
            .header("authorization", format!("Bearer {}", client.token.as_ref().unwrap()));
        untaken.push(sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap());
    }
    assert!(untaken.iter().all(|response| response.status() == 200));
    let refused = client.get("/containers/talker/logs").await;
    refused.refused(429, "RateLimitError");
    // Whoever it is, it is their own place.
    assert!(theirs.logs("talker", "").await.ends_with("2000\n"));
    assert_eq!(client.status("talker").await, "running");
    drop((untaken, sender));
    connection.abort();
    eventually("room", || async { (client.get("/containers/talker/logs").await.status == 200).then_some(()) }).await;
}
